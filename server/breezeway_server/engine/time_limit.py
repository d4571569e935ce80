"""The time limit of one attempt of a run, which stands still while somebody's decision is waited for."""

import asyncio
from collections.abc import Callable


class TimeLimit:
    """Calls `reached` when the time is up. Only what passes between a `start` and the next `stop` counts."""

    __slots__ = ("_left", "_reached", "_timer", "_until", "seconds")

    def __init__(self, seconds: float, reached: Callable[[], None]) -> None:
        self.seconds = seconds
        """How long it is."""
        self._left = seconds
        self._reached: Callable[[], None] | None = reached
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Count from now on, unless that is over for good."""
        if self._reached is not None:
            loop = asyncio.get_running_loop()
            self._until = loop.time() + self._left
            self._timer = loop.call_at(self._until, self._reached)

    def stop(self) -> None:
        """Count no further for now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left = self._until - asyncio.get_running_loop().time()

    def close(self) -> None:
        """Count no further for good."""
        self.stop()
        # It refers to whoever has this: nothing of a run that is over should be left to the garbage collector.
        self._reached = None
