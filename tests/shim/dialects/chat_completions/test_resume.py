"""Streams that go on behind a number, and requests that come again."""

import asyncio
from typing import Any

import aiohttp
import grpc
import pytest
from breezeway.v1 import run_pb2, run_service_pb2

from tests.support.fake_server import FakeServer, refusal
from tests.support.logs import RUN_ID, read_log

PATH = "/v1/chat/completions"
CHAT_ID = RUN_ID.replace("run_", "chatcmpl-")
BODY: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
STREAM = BODY | {"stream": True}
KEY = {"Idempotency-Key": "once"}


@pytest.fixture
def text(server: FakeServer) -> FakeServer:
    """A server whose run has ended."""
    server.plays("text")
    over = run_pb2.Run(id=RUN_ID, last_sequence=len(server.steps))
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=over)
    return server


async def frames_of(response: aiohttp.ClientResponse) -> list[bytes]:
    return [frame + b"\n\n" for frame in (await response.read()).split(b"\n\n")[:-1]]


async def test_frames_are_numbered_where_a_reader_can_come_back(http: aiohttp.ClientSession, text: FakeServer) -> None:
    for body, headers in ((STREAM | {"store": True}, {}), (STREAM, KEY), (STREAM, {"X-On-Disconnect": "continue"})):
        async with http.post(PATH, json=body, headers=headers) as response:
            frames = await frames_of(response)
        # The last but one is for the usage, which nobody asked for.
        count = len(frames)
        numbers = [*range(1, count), count + 1]
        assert [frame.partition(b"\n")[0] for frame in frames] == [b"id: %d" % number for number in numbers]
    async with http.post(PATH, json=STREAM) as response:
        assert b"id: " not in b"".join(await frames_of(response)).replace(b'"id":', b"")


@pytest.mark.parametrize("run_id", [RUN_ID, CHAT_ID, RUN_ID.replace("run_", "resp_")])
async def test_a_stream_goes_on_behind_any_number_under_any_spelling(
    http: aiohttp.ClientSession, text: FakeServer, run_id: str
) -> None:
    async with http.post(PATH, json=STREAM, headers=KEY) as response:
        whole = await frames_of(response)
    for sent in range(len(whole)):
        async with http.get(f"{PATH}/{run_id}?stream=true&starting_after={sent}") as response:
            assert response.status == 200
            assert response.headers["X-Run-Id"] == RUN_ID
            assert await frames_of(response) == whole[sent:]
    assert {call.request.run_id for call in text.calls if call.method == "FollowRun"} == {run_id}


async def test_a_browser_that_connects_again_goes_on_with_its_last_event_id(
    http: aiohttp.ClientSession, text: FakeServer
) -> None:
    async with http.get(f"{PATH}/{CHAT_ID}?stream=true") as response:
        whole = await frames_of(response)
    path = f"{PATH}/{CHAT_ID}?stream=true&starting_after=0"
    async with http.get(path, headers={"Last-Event-ID": "2"}) as response:
        assert await frames_of(response) == whole[2:]


async def test_a_request_with_the_same_key_goes_on_with_its_last_event_id(
    http: aiohttp.ClientSession, text: FakeServer
) -> None:
    async with http.post(PATH, json=STREAM, headers=KEY) as response:
        whole = await frames_of(response)
    async with http.post(PATH, json=STREAM, headers=KEY | {"Last-Event-ID": "2"}) as response:
        assert await frames_of(response) == whole[2:]
    assert text.calls[-2].request.request_id == "once"


async def test_a_stream_goes_on_while_its_run_does(http: aiohttp.ClientSession, server: FakeServer) -> None:
    events = read_log("text")
    more = asyncio.Event()
    server.steps = [events[:5], more, events[5:]]
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run_pb2.Run(id=RUN_ID, last_sequence=5))
    async with http.get(f"{PATH}/{CHAT_ID}?stream=true&starting_after=1") as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b"id: 2\n")
        more.set()
        assert (await response.content.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("last_sequence", [5, 3])
async def test_a_number_above_the_newest_frame_is_an_error_also_while_the_run_goes_on(
    http: aiohttp.ClientSession, server: FakeServer, last_sequence: int
) -> None:
    server.steps = [read_log("text")[:5], asyncio.Event()]
    run = run_pb2.Run(id=RUN_ID, last_sequence=last_sequence)
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    async with http.get(f"{PATH}/{CHAT_ID}?stream=true&starting_after=4") as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert (error["code"], error["param"]) == ("cursor_ahead", "starting_after")


async def test_events_that_are_no_longer_kept_are_gone(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.steps = [refusal(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED", "No longer kept.")]
    async with http.get(f"{PATH}/{CHAT_ID}?stream=true&starting_after=3") as response:
        assert response.status == 410
        assert (await response.json())["error"]["code"] == "cursor_expired"


async def test_a_run_that_failed_is_followed_to_the_frame_that_says_so(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.plays("failed_before_first_token")
    async with http.get(f"{PATH}/{CHAT_ID}?stream=true") as response:
        assert response.status == 200
        (frame,) = await frames_of(response)
    assert frame.startswith(b'id: 1\ndata: {"error":')


async def test_usage_and_tool_progress_are_told_to_followers_who_ask(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.plays("server_tools")
    path = f"{PATH}/{CHAT_ID}?stream=true"
    async with http.get(path) as response:
        few = await frames_of(response)
    async with http.get(f"{path}&include_usage=true", headers={"X-Breezeway-Events": "tool_progress"}) as response:
        all_ = await frames_of(response)
    assert b"".join(few).count(b"tool_progress") == 0
    assert b"".join(all_).count(b"tool_progress") > 0
    assert b'"usage":{' in all_[-2]
    assert {frame.partition(b"\n")[0] for frame in few} < {frame.partition(b"\n")[0] for frame in all_}


REFUSED = [
    ("GET", f"{PATH}/{CHAT_ID}?starting_after=1", {}, None, "starting_after"),
    ("GET", f"{PATH}/{CHAT_ID}?stream=true&starting_after=-1", {}, None, "starting_after"),
    ("GET", f"{PATH}/{CHAT_ID}?stream=true", {"Last-Event-ID": "x"}, None, "Last-Event-ID"),
    ("POST", PATH, KEY | {"Last-Event-ID": "1"}, BODY, "starting_after"),
    ("POST", PATH, {"Last-Event-ID": "1"}, STREAM, None),
    ("POST", PATH, {"X-On-Disconnect": "explode"}, BODY, None),
    ("POST", PATH, {"X-Conversation-Busy": "explode"}, BODY, None),
    ("POST", PATH, {"Idempotency-Key": "schlüssel"}, BODY, None),
    ("POST", PATH, {"X-Conversation-Id": "wörter"}, BODY, None),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "param"), REFUSED)
async def test_what_cannot_be_followed_is_refused_by_name(
    http: aiohttp.ClientSession,
    server: FakeServer,
    method: str,
    path: str,
    headers: dict[str, str],
    body: dict[str, Any] | None,
    param: str | None,
) -> None:
    async with http.request(method, path, headers=headers, json=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param
    assert {call.method for call in server.calls} <= {"ListAgents"}
