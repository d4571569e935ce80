"""A sliding window: how much was used in the last minute."""

from collections import deque
from dataclasses import dataclass

WINDOW_NS = 60 * 10**9
# What comes within this time is held as one, so that memory is bounded however much comes. It leaves with the last of
# it, so that the window may forget a little late, but never early.
_GRAIN_NS = WINDOW_NS // 600


@dataclass(slots=True)
class _Use:
    first_ns: int
    last_ns: int
    amount: int


class Window:
    """What was used in the 60 seconds up to now. Times are in nanoseconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._uses: deque[_Use] = deque()
        self._used = 0

    def used(self, now: int) -> int:
        """Return how much was used."""
        while self._uses and self._uses[0].last_ns <= now - WINDOW_NS:
            self._used -= self._uses.popleft().amount
        return self._used

    def use(self, now: int, amount: int) -> None:
        """Count what is used now; not less than 0."""
        self.used(now)
        self._used += amount
        newest = self._uses[-1] if self._uses else None
        if newest is not None and now - newest.first_ns < _GRAIN_NS:
            newest.last_ns = now
            newest.amount += amount
        else:
            self._uses.append(_Use(now, now, amount))

    def until_below(self, now: int, limit: int) -> int:
        """Return in how many nanoseconds less than `limit`, which is at least 1, is used, if nothing more is."""
        left, wait = self.used(now), 0
        for use in self._uses:
            if left < limit:
                break
            left -= use.amount
            wait = use.last_ns + WINDOW_NS - now
        return wait
