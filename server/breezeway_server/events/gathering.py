"""When to wait for company: a lone event never does, and under load a few milliseconds save half of the work."""

import asyncio
from collections.abc import Callable
from math import exp

# Events a second, and for how many seconds to gather from there on. The least of them brings four events together; the
# others spare a busy machine half of its messages each, which cost as much as a few dozen events.
_PAUSES = ((5000.0, 0.02), (3000.0, 0.01), (800.0, 0.005))
# For so many seconds, about, the rate remembers an event: a handful that come together are no load.
_MEMORY = 0.05


class Gathering:
    """Follows the rate of events, and says how long to gather before the next batch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, from any origin."""
        self._clock = clock
        self._last = clock()
        self._rate = 0.0
        self._hurry = asyncio.Event()

    async def company(self) -> None:
        """Wait before the next batch for as long as `pause` says, or until `hurry`."""
        pause = self.pause()
        if pause > 0 and not self._hurry.is_set():
            timer = asyncio.get_running_loop().call_later(pause, self._hurry.set)
            try:
                await self._hurry.wait()
            finally:
                timer.cancel()
        self._hurry.clear()

    def hurry(self) -> None:
        """Let the next batch go at once: somebody waits for what is in it, and not for the next of many."""
        self._hurry.set()

    def pause(self) -> float:
        """Return for how many seconds to gather: 0 unless events come thick."""
        for rate, pause in _PAUSES:
            if self._rate >= rate:
                return max(0.0, pause - (self._clock() - self._last))
        return 0.0

    def sent(self, events: int) -> None:
        """Take note of a batch."""
        now = self._clock()
        self._rate = self._rate * exp((self._last - now) / _MEMORY) + events / _MEMORY
        self._last = now
