"""Request ids: the same id with the same body is the same run."""

import asyncio

from breezeway_server.engine.locks import KeyedLocks
from breezeway_server.engine.roster import Roster
from breezeway_server.errors import RequestIdReused
from breezeway_server.store.base import Store


class Requests:
    """Finds the run that a request id named before, among those that are here and those in the store."""

    def __init__(self, store: Store, roster: Roster) -> None:
        self._store = store
        self._roster = roster
        self._locks = KeyedLocks()

    def lock(self, tenant: str, request_id: str) -> asyncio.Lock:
        """Return what to hold from before `earlier` until a new run has begun: a repeat must not come in between."""
        return self._locks.of(tenant, request_id)

    async def earlier(self, tenant: str, request_id: str, request_hash: bytes) -> str | None:
        """Return the id of the run, None where there is none. Raises `RequestIdReused` where the body was another."""
        live = self._roster.named(tenant, request_id)
        if live is not None:
            run_id, known = live.run_id, live.request_hash
        else:
            found = await self._store.find_request(tenant, request_id)
            if found is None:
                return None
            run_id, known = found.run_id, found.request_hash
        if request_hash != known:
            raise RequestIdReused(request_id)
        return run_id
