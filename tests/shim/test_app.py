import aiohttp
import pytest
from breezeway.v1 import event_pb2
from grpc_health.v1 import health_pb2

from tests.support.fake_server import FakeServer
from tests.support.shim import serve_shim

CHAT = "/v1/chat/completions"


async def error_of(response: aiohttp.ClientResponse) -> dict[str, str | None]:
    assert response.content_type == "application/json"
    assert response.headers["x-request-id"]
    error: dict[str, str | None] = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/chat/completions/"])
async def test_an_unknown_route_is_named(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404
        assert path in str((await error_of(response))["message"])


async def test_a_wrong_method_says_which_are_right(http: aiohttp.ClientSession) -> None:
    async with http.delete(CHAT) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD, POST"
        assert (await error_of(response))["code"] == "method_not_allowed"


async def test_a_large_body_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, data=b"x" * 200_000) as response:
        assert response.status == 413
        assert (await error_of(response))["code"] == "body_too_large"


async def test_the_unforeseen_is_an_error_without_its_text(
    http: aiohttp.ClientSession, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    # An event of an item that never began, which no server sends, breaks the projection.
    delta = event_pb2.TextDelta(item_id="msg_secret", text="x")
    server.steps = [[event_pb2.RunEvent(sequence=1, text_delta=delta)]]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    async with http.post(CHAT, json=body) as response:
        assert response.status == 500
        error = await error_of(response)
        assert response.headers["x-request-id"] in str(error["message"])
    assert "secret" not in str(error)
    # The log has the traceback, under the same id.
    logged = capsys.readouterr().out
    assert "msg_secret" in logged
    assert response.headers["x-request-id"] in logged


async def test_the_index_lists_what_there_is(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as response:
        index = await response.json()
    assert index["name"] == "breezeway"
    assert "POST /v1/chat/completions" in index["endpoints"]
    assert "GET /v1/models" in index["endpoints"]


async def test_browsers_get_a_page(http: aiohttp.ClientSession) -> None:
    async with http.get("/", headers={"Accept": "text/html"}) as response:
        assert response.content_type == "text/html"
        assert "POST /v1/chat/completions" in await response.text()


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
async def test_health_is_the_servers(http: aiohttp.ClientSession, server: FakeServer, path: str) -> None:
    async with http.get(path) as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    await server.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    async with http.get(path) as response:
        assert (response.status, await response.json()) == (503, {"status": "unavailable"})


async def test_a_server_that_is_not_there_is_503() -> None:
    async with serve_shim("127.0.0.1:1", reconnect_seconds=0.01) as url, aiohttp.ClientSession(url) as http:
        async with http.get("/health") as response:
            assert response.status == 503
        async with http.get("/v1/models") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            await error_of(response)
