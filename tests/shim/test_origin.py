"""Which web pages may call, and what the server is told of requests that were not meant for its machine."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from breezeway.v1 import agent_registry_service_pb2
from breezeway_shim.origin import is_local

from tests.support.fake_server import FakeServer
from tests.support.shim import serve_shim

APP = "https://app.example"
CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
MARK = "x-breezeway-not-local"


@pytest.fixture
async def listing(server: FakeServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A shim that lists `APP`, and knows no models."""
    server.replies["ListAgents"] = agent_registry_service_pb2.ListAgentsResponse()
    settings = {"cors_origins": f"{APP}/, https://other.example"}
    async with serve_shim(server.target, **settings) as url, aiohttp.ClientSession(url) as http:
        yield http


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "chrome-extension://abc"])
async def test_an_unlisted_origin_is_refused(
    http: aiohttp.ClientSession, listing: aiohttp.ClientSession, server: FakeServer, origin: str
) -> None:
    for session in (http, listing):
        for method, path in (("GET", "/v1/models"), ("POST", CHAT), ("OPTIONS", CHAT), ("GET", "/api/runs")):
            async with session.request(method, path, headers={"Origin": origin}) as response:
                assert response.status == 403
                assert (await response.json())["error"]["code"] == "origin_not_allowed"
                assert "Access-Control-Allow-Origin" not in response.headers
    assert not server.calls


async def test_a_page_of_ones_own_may_call(http: aiohttp.ClientSession, server: FakeServer, shim_url: str) -> None:
    server.replies["ListAgents"] = agent_registry_service_pb2.ListAgentsResponse()
    async with http.get("/v1/models", headers={"Origin": shim_url}) as response:
        assert response.status == 200


async def test_a_listed_origin_gets_its_headers_on_every_answer(listing: aiohttp.ClientSession) -> None:
    for path, status in (("/v1/models", 200), ("/v1/nothing", 404)):
        async with listing.get(path, headers={"Origin": APP}) as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == APP
            assert response.headers["Vary"] == "Origin"
    async with listing.get("/v1/models") as response:
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_streams_have_the_headers_too(listing: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("text")
    async with listing.post(CHAT, json=ASK, headers={"Origin": APP}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Access-Control-Allow-Origin"] == APP
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"x-request-id", "X-Run-Id", "X-Conversation-Id", "Retry-After", "x-ratelimit-reset-tokens"} <= set(exposed)


async def test_a_preflight_allows_what_the_routes_have(listing: aiohttp.ClientSession, server: FakeServer) -> None:
    headers = {
        "Origin": APP,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization, x-stainless-os",
    }
    async with listing.options("/v1/responses/resp_1", headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == APP
        assert response.headers["Access-Control-Allow-Headers"] == "authorization, x-stainless-os"
        allowed = set(response.headers["Access-Control-Allow-Methods"].split(", "))
    assert allowed >= {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert not server.calls


async def test_all_origins_can_be_listed(server: FakeServer) -> None:
    async with (
        serve_shim(server.target, cors_origins="*") as url,
        aiohttp.ClientSession(url) as http,
        http.get("/health", headers={"Origin": APP}) as response,
    ):
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, APP)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.168.0.7:8642", "localhost.evil.example", "["])
async def test_the_server_is_told_of_a_request_that_was_meant_for_another_host(
    http: aiohttp.ClientSession, server: FakeServer, host: str
) -> None:
    server.plays("text")
    async with http.post(CHAT, json=ASK, headers={"Host": host}) as response:
        assert response.status == 200
    assert MARK in server.calls[-1].metadata


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8642", "127.0.0.1:1", "[::1]:8642", "breezeway.localhost"])
async def test_names_of_this_machine_are_its_own(http: aiohttp.ClientSession, server: FakeServer, host: str) -> None:
    server.plays("text")
    async with http.post(CHAT, json=ASK, headers={"Host": host}) as response:
        assert response.status == 200
    assert MARK not in server.calls[-1].metadata


async def test_a_caller_cannot_set_the_mark(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("text")
    async with http.post(CHAT, json=ASK, headers={MARK: "no"}) as response:
        assert response.status == 200
    assert MARK not in server.calls[-1].metadata


def test_what_is_local() -> None:
    assert is_local("127.8.9.1")
    assert not is_local("0.0.0.0")  # noqa: S104 - nothing listens here
    assert not is_local("")
