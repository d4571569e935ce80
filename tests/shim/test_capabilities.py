import re
from typing import Any

import aiohttp
import pytest
from breezeway.v1 import agent_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse

from tests.support.fake_server import FakeServer


@pytest.fixture
async def told(http: aiohttp.ClientSession, server: FakeServer) -> dict[str, Any]:
    takes = agent_pb2.AgentCapabilities(content_kinds=[agent_pb2.CONTENT_KIND_IMAGE], client_tools=True, resumable=True)
    agent = agent_pb2.Agent(name="helper", aliases=["help"], kind="llm", capabilities=takes)
    server.replies["ListAgents"] = ListAgentsResponse(agents=[agent])
    async with http.get("/v1/capabilities") as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
    return found


async def test_every_endpoint_that_is_claimed_answers(http: aiohttp.ClientSession, told: dict[str, Any]) -> None:
    assert {"POST /v1/runs", "GET /v1/capabilities", "POST /api/runs/{run_id}:cancel"} <= set(told["endpoints"])
    for endpoint in told["endpoints"]:
        method, _, path = endpoint.partition(" ")
        url = re.sub(r"\{[^{}]+\}", "x", path)
        # Without the replies that the fake server was not given: a route is there if it is not 404 by path or 405.
        async with http.request("GET" if method == "*" else method, url, data=b"{") as response:
            assert response.status != 405, endpoint
            assert f"There is no {url};" not in await response.text() or method == "*", endpoint


async def test_dialects_are_made_of_endpoints(told: dict[str, Any]) -> None:
    for dialect in told["dialects"].values():
        assert {dialect["create"], dialect["resume"]} <= set(told["endpoints"])


async def test_limits_are_those_that_hold(http: aiohttp.ClientSession, told: dict[str, Any]) -> None:
    limit = told["limits"]["max_body_bytes"]
    async with http.post("/v1/runs", data=b" " * (limit + 1)) as response:
        assert response.status == 413
    async with http.post("/v1/runs", data=b" " * limit) as response:
        assert response.status == 400


async def test_agents_are_told_with_what_they_take(told: dict[str, Any]) -> None:
    assert told["agents"] == [
        {
            "id": "helper",
            "aliases": ["help"],
            "description": "",
            "kind": "llm",
            "content_kinds": ["text", "image"],
            "client_tools": True,
            "multiple_choices": False,
            "resumable": True,
        }
    ]
