"""Locks by name: one at a time for each, and all at once for the others."""

import asyncio
from weakref import WeakValueDictionary


class KeyedLocks:
    """Locks of tenants' own names; one that nobody holds or waits for takes no room."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, tenant: str, name: str) -> asyncio.Lock:
        """Return the lock, which is the same one for as long as somebody has it."""
        return self._locks.setdefault((tenant, name), asyncio.Lock())

    def __len__(self) -> int:
        """Return how many locks somebody has."""
        return len(self._locks)
