"""The foreign service, compiled once, and served for each test that wants it."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest
from google.protobuf.descriptor import ServiceDescriptor

from tests.shim.transcoding.foreign import PROTO, MessagingServer, compile_proto, serve_messaging


class Foreign(NamedTuple):
    server: MessagingServer
    http: aiohttp.ClientSession
    port: int


@pytest.fixture(scope="session")
def messaging(tmp_path_factory: pytest.TempPathFactory) -> ServiceDescriptor:
    pool = compile_proto(PROTO, tmp_path_factory.mktemp("protos") / "messaging.binpb")
    return pool.FindServiceByName("messaging.v1.Messaging")


@pytest.fixture
async def foreign(messaging: ServiceDescriptor) -> AsyncIterator[Foreign]:
    async with serve_messaging(messaging) as (server, url), aiohttp.ClientSession(url) as http:
        yield Foreign(server, http, int(url.rpartition(":")[2]))
