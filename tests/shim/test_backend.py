"""How the shim reaches the server."""

import asyncio

import aiohttp
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse

from tests.chaos.proxy import Proxy
from tests.support.fake_server import FakeServer
from tests.support.shim import serve_shim


async def test_a_server_that_takes_its_time_to_greet_is_waited_for(server: FakeServer) -> None:
    server.replies["ListAgents"] = ListAgentsResponse()
    async with Proxy.serving(int(server.target.rpartition(":")[2])) as proxy:
        # Several times what a reconnect is put off at first.
        greeting = asyncio.create_task(proxy.stall(0.8))
        async with (
            serve_shim(f"127.0.0.1:{proxy.port}", reconnect_seconds=0) as url,
            aiohttp.ClientSession(url) as http,
            http.get("/v1/models") as response,
        ):
            assert response.status == 200
        await greeting
