"""When to wait for company: a lone event never does, and under load a few milliseconds save half of the work."""

from collections.abc import Callable

# Events a second, and for how many seconds to gather from there on: the first brings at least four events together,
# the second spares a busy machine half of its messages, each of which costs as much as the events in it.
_BUSY = 800.0
_PAUSE = 0.005
_VERY_BUSY = 3000.0
_LONG_PAUSE = 0.01
# How much of the rate is forgotten with each batch.
_DECAY = 0.2


class Gathering:
    """Follows the rate of events, and says how long to gather before the next batch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, from any origin."""
        self._clock = clock
        self._last = clock()
        self._rate = 0.0

    def pause(self) -> float:
        """Return for how many seconds to gather: 0 unless events come thick."""
        if self._rate < _BUSY:
            return 0.0
        pause = _PAUSE if self._rate < _VERY_BUSY else _LONG_PAUSE
        return max(0.0, pause - (self._clock() - self._last))

    def sent(self, events: int) -> None:
        """Take note of a batch."""
        now = self._clock()
        elapsed = max(now - self._last, 1e-4)
        self._last = now
        # A long silence must not count as one slow batch: it is forgotten as fast as it lasted.
        weight = max(_DECAY, min(1.0, elapsed / 0.1))
        self._rate += weight * (events / elapsed - self._rate)
