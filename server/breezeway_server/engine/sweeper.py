"""The sweeper: forgets, from time to time, what is kept for a while only."""

import asyncio
from collections.abc import Callable

import structlog

from breezeway_server.engine.limits import Limits
from breezeway_server.engine.roster import Roster
from breezeway_server.errors import Unavailable
from breezeway_server.store.base import Store

_logger = structlog.get_logger()

_SECONDS = 30.0
_ROWS = 100


class Sweeper:
    """Sweeps memory and store: ended runs of MEMORY durability, old events, old request ids."""

    def __init__(self, store: Store, roster: Roster, limits: Limits, *, clock: Callable[[], int]) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._store = store
        self._roster = roster
        self._limits = limits
        self._clock = clock

    async def run(self, every: float = _SECONDS) -> None:
        """Sweep every so many seconds until cancelled."""
        while True:
            await asyncio.sleep(every)
            self._roster.sweep()
            try:
                await self.expire()
            except Unavailable:
                _logger.warning("sweep_put_off", retry_in=every)

    async def expire(self) -> None:
        """Forget events and request ids that are past their time, a few at once so that writers do not wait long.

        Raises `Unavailable`.
        """
        now = self._clock()
        expired = _ROWS
        while expired >= _ROWS:
            expired = await self._store.expire(
                ended_before_ns=now - int(self._limits.log_seconds * 1e9),
                requested_before_ns=now - int(self._limits.request_seconds * 1e9),
                limit=_ROWS,
            )
