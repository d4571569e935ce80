"""The clock of the running loop, in the hands of a test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest


class HeldClock:
    """The clock of the running loop, which stands still until the test moves it: no timer goes off before.

    So a limit of the code under test is reached when the test says so, and never because the machine is busy.
    """

    def __init__(self, now: float) -> None:
        self._now = now

    @classmethod
    @contextmanager
    def held(cls) -> Iterator[Self]:
        """Hold the clock for the length of the block."""
        loop = asyncio.get_running_loop()
        clock = cls(loop.time())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "time", clock.time)
            yield clock

    def time(self) -> float:
        """What the loop's `time` returns meanwhile."""
        return self._now

    def move(self, seconds: float) -> None:
        """Let that many seconds pass. What is due by then happens once the test waits for something."""
        self._now += seconds

    async def move_until(self, ended: asyncio.Future[Any], seconds: float) -> None:
        """Let that many seconds pass, and that many more where whoever is to notice was not waiting yet."""
        while not ended.done():
            self.move(seconds)
            await asyncio.sleep(0)
