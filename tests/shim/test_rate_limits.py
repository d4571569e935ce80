"""What the server says of a caller's limits goes along with every answer that creates a run."""

from collections.abc import Mapping

import aiohttp
import grpc
import pytest
from breezeway.v1 import run_pb2, run_service_pb2

from tests.support.fake_server import FakeServer, refusal

LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1m0s",
    "x-ratelimit-limit-tokens": "1000",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "12ms",
}
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {"model": "echo", "input": "hello"}
NATIVE = {
    "spec": {"agent": "echo"},
    "input": [{"message": {"role": "ROLE_USER", "content": [{"text": {"text": "hello"}}]}}],
}
# More than goes over the call that runs share.
LARGE = {**CHAT, "messages": [{"role": "user", "content": "x" * 70_000}]}
CREATING = [
    pytest.param("/v1/chat/completions", CHAT, id="chat"),
    pytest.param("/v1/chat/completions", {**CHAT, "stream": True}, id="chat stream"),
    pytest.param("/v1/chat/completions", LARGE, id="chat, large"),
    pytest.param("/v1/chat/completions", {**LARGE, "stream": True}, id="chat stream, large"),
    pytest.param("/v1/responses", RESPONSE, id="response"),
    pytest.param("/v1/responses", {**RESPONSE, "stream": True}, id="response stream"),
    pytest.param("/v1/responses", {**RESPONSE, "background": True}, id="response in the background"),
    pytest.param("/v1/runs", RESPONSE, id="run"),
    pytest.param("/api/runs", NATIVE, id="native run"),
    pytest.param("/api/runs:stream", NATIVE, id="native stream"),
]


def limits_in(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-ratelimit")}


@pytest.fixture
def creating(server: FakeServer) -> FakeServer:
    """A server that creates whatever run is asked for."""
    server.plays("text")
    run = run_pb2.Run(id="run_019a3e5c7d0070008000000000000001", spec=run_pb2.RunSpec(agent="echo"))
    server.replies["CreateRun"] = run_service_pb2.CreateRunResponse(run=run)
    return server


@pytest.mark.parametrize(("path", "body"), CREATING)
async def test_every_answer_that_creates_a_run_tells_what_is_left(
    http: aiohttp.ClientSession, creating: FakeServer, path: str, body: object
) -> None:
    creating.rate_limits = LIMITS
    async with http.post(path, json=body) as answer:
        assert answer.status in {200, 202}, await answer.text()
        assert limits_in(answer.headers) == LIMITS
        await answer.read()


@pytest.mark.parametrize(("path", "body"), CREATING)
async def test_where_there_is_no_limit_nothing_is_told(
    http: aiohttp.ClientSession, creating: FakeServer, path: str, body: object
) -> None:
    async with http.post(path, json=body) as answer:
        assert answer.status in {200, 202}, await answer.text()
        assert not limits_in(answer.headers)
        await answer.read()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSE)])
async def test_a_refusal_tells_it_too(
    http: aiohttp.ClientSession, server: FakeServer, path: str, body: dict[str, object], stream: bool
) -> None:
    server.rate_limits = LIMITS
    server.steps = [refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED_TOKENS", "Later, please.", retry_after=7)]
    async with http.post(path, json={**body, "stream": stream}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        error = (await answer.json())["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert limits_in(answer.headers) == LIMITS


async def test_a_run_that_fails_at_once_tells_it_too(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.rate_limits = LIMITS
    server.plays("failed_before_first_token")
    async with http.post("/v1/chat/completions", json=CHAT) as answer:
        assert answer.status >= 400
        assert limits_in(answer.headers) == LIMITS


async def test_a_run_says_how_many_tokens_it_may_use(http: aiohttp.ClientSession, creating: FakeServer) -> None:
    async with http.post("/v1/runs", json={**RESPONSE, "max_total_tokens": 500}) as answer:
        assert answer.status == 202
    assert creating.calls[-1].request.spec.max_total_tokens == 500
    async with http.post("/v1/runs", json={**RESPONSE, "max_total_tokens": 0}) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "max_total_tokens")
