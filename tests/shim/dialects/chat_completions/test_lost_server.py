"""Streams and answers while the server behind is lost, and when it comes back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from breezeway.v1 import run_pb2, run_service_pb2, stream_service_pb2
from breezeway.v1.run_service_pb2 import CancelRunRequest, CancelRunResponse

from tests.support.fake_server import FakeServer, Lost, refusal
from tests.support.golden import transcript
from tests.support.logs import RUN_ID, read_log
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
STREAM = BODY | {"stream": True}
USAGE = STREAM | {"stream_options": {"include_usage": True}}
DRAINING = refusal(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "The server stops.", retry_after=1)


@pytest.fixture
async def impatient(server: FakeServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a shim that does not wait."""
    async with serve_shim(server.target, reconnect_seconds=0) as url, aiohttp.ClientSession(url) as session:
        yield session


def methods(server: FakeServer) -> list[str]:
    return [call.method for call in server.calls]


async def test_a_client_does_not_notice_that_the_server_was_lost_again_and_again(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    events = read_log("server_tools")
    for event in events[:4]:
        server.steps += [[event], Lost(DRAINING)]
    server.steps += [[event] for event in events[4:]]
    async with http.post(PATH, json=USAGE, headers={"X-Breezeway-Events": "tool_progress"}) as response:
        assert await response.read() == transcript("chat_completions", "server_tools")
    assert methods(server) == ["StreamRun"] + ["FollowRun"] * 4
    assert [call.request.after_sequence for call in server.calls[1:]] == [1, 2, 3, 4]
    assert {call.request.run_id for call in server.calls[1:]} == {events[0].run_id}


async def test_an_answer_is_collected_over_a_loss_with_as_little_as_before(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    events = read_log("text")
    server.steps = [events[:6], Lost(DRAINING), events[6:]]
    async with http.post(PATH, json=BODY) as response:
        assert response.status == 200
        assert (await response.json())["choices"][0]["message"]["content"].startswith("Hello")
    assert {call.request.detail for call in server.calls} == {stream_service_pb2.STREAM_DETAIL_ITEMS}


async def test_a_stream_goes_on_when_a_server_that_was_killed_is_back(server: FakeServer) -> None:
    events = read_log("text")
    server.steps = [events[:5], asyncio.Event()]
    async with (
        serve_shim(server.target, keepalive_seconds=0.01) as url,
        aiohttp.ClientSession(url) as http,
        http.post(PATH, json=USAGE) as response,
    ):
        begun = [await response.content.readuntil(b"\n\n") for _ in range(3)]
        await server.stop()
        # Meanwhile the connection is kept alive.
        assert await response.content.readuntil(b"\n") == b": keep-alive\n"
        server.steps = [[event] for event in events]
        await server.start()
        rest = await response.read()
    frames = b"".join(begun) + rest
    assert frames.replace(b": keep-alive\n", b"") == transcript("chat_completions", "text")


async def test_a_server_that_does_not_come_back_ends_the_stream_with_an_error(
    impatient: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.steps = [read_log("text")[:5], DRAINING]
    async with impatient.post(PATH, json=STREAM) as response:
        frames = (await response.text()).strip().split("\n\n")
    assert msgspec.json.decode(frames[-1].removeprefix("data: "))["error"]["code"] == "server_unavailable"


async def test_a_server_that_does_not_come_back_is_an_error_for_those_who_collect(
    impatient: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.steps = [read_log("text")[:5], DRAINING]
    async with impatient.post(PATH, json=BODY) as response:
        assert response.status == 503
        assert response.headers["X-Run-Id"].startswith("run_")


async def test_a_run_that_was_lost_with_its_server_was_interrupted(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    gone = refusal(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", "No such run.")
    server.steps = [read_log("text")[:5], Lost(DRAINING), gone]
    async with http.post(PATH, json=STREAM) as response:
        frames = (await response.text()).strip().split("\n\n")
    error = msgspec.json.decode(frames[-1].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "run_interrupted")


async def test_a_run_that_may_have_begun_is_begun_again_only_with_a_key(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    broken = grpc.StatusCode.UNAVAILABLE
    server.breaks_once = broken
    async with http.post(PATH, json=BODY) as response:
        assert response.status == 503
    assert methods(server) == ["StreamRun"]
    server.calls.clear()
    server.breaks_once = broken
    server.plays("text")
    async with http.post(PATH, json=BODY, headers={"Idempotency-Key": "once"}) as response:
        assert response.status == 200
    assert [call.request.request_id for call in server.calls] == ["once", "once"]


async def test_a_server_that_refuses_new_runs_is_taken_at_its_word(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.steps = [DRAINING]
    async with http.post(PATH, json=BODY, headers={"Idempotency-Key": "once"}) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
    assert methods(server) == ["StreamRun"]


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_who_leaves_after_a_loss_still_cancels(
    http: aiohttp.ClientSession, server: FakeServer, body: dict[str, Any]
) -> None:
    cancelled = asyncio.Event()

    def cancel(request: CancelRunRequest) -> CancelRunResponse:
        assert request.run_id == RUN_ID
        cancelled.set()
        return CancelRunResponse()

    server.replies["CancelRun"] = cancel
    events = read_log("text")
    server.steps = [events[:5], Lost(DRAINING), server.followed, asyncio.Event()]
    request = asyncio.create_task(_read(http, body, {}))
    await asyncio.wait_for(server.followed.wait(), PATIENCE)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.wait_for(cancelled.wait(), PATIENCE)


async def test_who_leaves_a_run_that_goes_on_cancels_nothing(http: aiohttp.ClientSession, server: FakeServer) -> None:
    events = read_log("text")
    server.steps = [events[:5], Lost(DRAINING), server.followed, asyncio.Event()]
    request = asyncio.create_task(_read(http, STREAM, {"X-On-Disconnect": "continue"}))
    await asyncio.wait_for(server.followed.wait(), PATIENCE)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.wait_for(server.cancelled.wait(), PATIENCE)
    assert "CancelRun" not in methods(server)


async def _read(http: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str]) -> bytes:
    async with http.post(PATH, json=body, headers=headers) as response:
        return await response.read()


async def test_a_read_is_made_again_when_the_server_is_back(http: aiohttp.ClientSession, server: FakeServer) -> None:
    run = run_pb2.Run(id=RUN_ID, state=run_pb2.RUN_STATE_COMPLETED)
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    server.breaks_once = grpc.StatusCode.UNAVAILABLE
    async with http.get(f"{PATH}/{RUN_ID}") as response:
        assert response.status == 200
    assert methods(server) == ["GetRun", "GetRun"]
