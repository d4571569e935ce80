"""Every store there is: one suite for all of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from breezeway_server.store.base import Store

from tests.support.server import opened

STORES: dict[str, Callable[[Path], Awaitable[Store]]] = {"sqlite": opened}


@pytest.fixture(params=sorted(STORES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = await STORES[request.param](tmp_path)
    try:
        yield store
    finally:
        await store.close()
