"""A shim in front of a fake server, and a plain HTTP client."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.fake_server import FakeServer, fake_server
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def shim_url(server: FakeServer) -> AsyncIterator[str]:
    async with serve_shim(server.target, max_body_bytes=100_000, reconnect_seconds=PATIENCE) as url:
        yield url


@pytest.fixture
async def http(shim_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(shim_url) as session:
        yield session
