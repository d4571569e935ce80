"""The scheduler: waits for the next job's time, and fires it."""

import asyncio
import time
from typing import Protocol

import structlog

from breezeway_server.errors import Unavailable
from breezeway_server.jobs.jobs import Jobs

_logger = structlog.get_logger()

_SECOND = 1_000_000_000
_RETRY_NS = 5 * _SECOND
# A clock that is set while we wait is noticed no later.
_LONGEST_WAIT = 30.0


class Clock(Protocol):
    """What time it is, and how to wait for one. Times are in nanoseconds since 1970."""

    def now(self) -> int:
        """Return the time."""

    async def wait(self, event: asyncio.Event, until_ns: int | None) -> None:
        """Wait for the event or the time, whichever comes first; may return early."""


class WallClock:
    """The system's clock."""

    def now(self) -> int:
        """Return the time."""
        return time.time_ns()

    async def wait(self, event: asyncio.Event, until_ns: int | None) -> None:
        """Wait for the event or the time, but not for long at once."""
        seconds = _LONGEST_WAIT if until_ns is None else (until_ns - self.now()) / _SECOND
        try:
            async with asyncio.timeout(min(max(seconds, 0), _LONGEST_WAIT)):
                await event.wait()
        except TimeoutError:
            return


async def schedule(jobs: Jobs, clock: Clock) -> None:
    """Fire jobs as their times come, until cancelled."""
    while True:
        # Cleared before looking: a change in between must not be lost.
        jobs.changed.clear()
        await clock.wait(jobs.changed, await _fire(jobs, clock))


async def _fire(jobs: Jobs, clock: Clock) -> int | None:
    """Fire what is due, and return when to look again; None where there is nothing to wait for."""
    try:
        settled = await jobs.fire_due()
        # Firing sets it too, and what it changed is known here.
        jobs.changed.clear()
        return await jobs.next_time() if settled else clock.now() + _RETRY_NS
    except Unavailable:
        _logger.warning("jobs_put_off", retry_in=_RETRY_NS // _SECOND)
        return clock.now() + _RETRY_NS
