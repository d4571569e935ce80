"""A clock that stands until a test sets it."""

import asyncio
from datetime import datetime


def ns(text: str) -> int:
    """Nanoseconds since 1970 of an ISO time with its offset."""
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


class FakeClock:
    """Waits end when the test says so, or the event is set; `waits` has until when each was to last."""

    def __init__(self, text: str) -> None:
        self.time = ns(text)
        self.waits: asyncio.Queue[int | None] = asyncio.Queue()
        self._moved = asyncio.Event()

    def now(self) -> int:
        return self.time

    def set(self, text: str) -> None:
        """Have it be that time, and wake who waits."""
        self.time = ns(text)
        self._moved.set()

    async def wait(self, event: asyncio.Event, until_ns: int | None) -> None:
        self.waits.put_nowait(until_ns)
        waiting = [asyncio.ensure_future(each.wait()) for each in (event, self._moved)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.wait(waiting)
        self._moved.clear()
