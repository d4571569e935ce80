"""Every store there is: one suite for all of them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from breezeway_server.store.base import Store
from breezeway_server.store.sqlite import open_sqlite

STORES: dict[str, Callable[[Path], Store]] = {"sqlite": lambda directory: open_sqlite(directory, "NORMAL")}


@pytest.fixture(params=sorted(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = STORES[request.param](tmp_path)
    try:
        yield store
    finally:
        await store.close()
