import asyncio
from typing import Any

import aiohttp
import grpc
import msgspec
import openai
import pytest
from breezeway.v1 import run_pb2

from tests.support.fake_server import FakeServer, refusal
from tests.support.golden import transcript
from tests.support.logs import read_log
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim

PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
STREAM = BODY | {"stream": True}


async def test_a_whole_answer_is_a_chat_completion(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("text")
    async with http.post(PATH, json=BODY) as response:
        completion = await response.json()
        assert response.status == 200
        assert response.headers["X-Run-Id"] == "run_019a3e5c7d0070008000000000000001"
        assert response.headers["x-request-id"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert completion["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": 'Hello, wörld 👋\n"quoted" \\ \u2028 </script>',
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


async def test_a_stream_is_the_golden_transcript(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("server_tools")
    asked = STREAM | {"stream_options": {"include_usage": True}}
    async with http.post(PATH, json=asked, headers={"X-Breezeway-Events": "tool_progress"}) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["X-Run-Id"].startswith("run_")
        assert await response.read() == transcript("chat_completions", "server_tools")


async def test_tool_progress_is_told_only_to_those_who_ask(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("server_tools")
    async with http.post(PATH, json=STREAM) as response:
        assert b"event:" not in await response.read()


async def test_usage_is_in_the_stream_only_where_asked_for(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("text")
    async with http.post(PATH, json=STREAM) as response:
        assert b"usage" not in await response.read()


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_run_that_fails_before_its_first_frame_is_an_http_error(
    http: aiohttp.ClientSession, server: FakeServer, body: dict[str, Any]
) -> None:
    server.plays("failed_before_first_token")
    async with http.post(PATH, json=body) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "7"
        assert response.headers["X-Run-Id"].startswith("run_")
        assert (await response.json())["error"]["code"] == "rate_limit_exceeded"


async def test_a_run_that_fails_in_the_middle_ends_the_stream_with_an_error(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.plays("failed_in_the_middle")
    async with http.post(PATH, json=STREAM) as response:
        assert response.status == 200
        frames = (await response.text()).strip().split("\n\n")
    assert msgspec.json.decode(frames[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    assert not any("[DONE]" in frame or '"stop"' in frame for frame in frames)


async def test_half_an_answer_does_not_pass_for_a_whole_one(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays(read_log("text")[:-1])
    async with http.post(PATH, json=BODY) as response:
        assert response.status == 502
    async with http.post(PATH, json=STREAM) as response:
        streamed = await response.text()
    assert '"code":"stream_cut_short"' in streamed
    assert "[DONE]" not in streamed


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_refused_run_names_the_parameter(
    http: aiohttp.ClientSession, server: FakeServer, body: dict[str, Any]
) -> None:
    field = "input[0].message.content[0]"
    server.steps = [refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "Empty.", field=field)]
    async with http.post(PATH, json=body) as response:
        assert response.status == 400
        assert await response.json() == {
            "error": {
                "message": "Empty.",
                "type": "invalid_request_error",
                "param": "messages[0].content",
                "code": None,
            }
        }


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_client_that_hangs_up_cancels_the_call(
    http: aiohttp.ClientSession, server: FakeServer, body: dict[str, Any]
) -> None:
    events = read_log("text")
    server.steps = [events[:5], asyncio.Event()]
    request = asyncio.create_task(_read(http, body))
    await server.called.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.wait_for(server.cancelled.wait(), PATIENCE)


async def _read(http: aiohttp.ClientSession, body: dict[str, Any]) -> bytes:
    async with http.post(PATH, json=body) as response:
        return await response.read()


async def test_frames_come_as_soon_as_their_events(http: aiohttp.ClientSession, server: FakeServer) -> None:
    events = read_log("text")
    more = asyncio.Event()
    server.steps = [events[:4], more, events[4:]]
    async with http.post(PATH, json=STREAM) as response:
        assert b'"role":"assistant"' in await response.content.readuntil(b"\n\n")
        assert b"Hel" in await response.content.readuntil(b"\n\n")
        more.set()
        assert (await response.content.read()).endswith(b"data: [DONE]\n\n")


async def test_a_quiet_stream_is_kept_alive_and_then_ends_as_ever(server: FakeServer) -> None:
    more = asyncio.Event()
    server.steps = [more, read_log("failed_before_first_token")]
    async with (
        serve_shim(server.target, keepalive_seconds=0.01) as url,
        aiohttp.ClientSession(url) as http,
        http.post(PATH, json=STREAM) as response,
    ):
        assert response.status == 200
        assert await response.content.readuntil(b"\n") == b": keep-alive\n"
        assert await response.content.readuntil(b"\n") == b": keep-alive\n"
        more.set()
        rest = await response.content.read()
    assert b'data: {"error":' in rest
    assert b"[DONE]" not in rest


async def test_the_callers_key_and_request_id_travel_along(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.plays("text")
    sent = {"Authorization": "Bearer k", "X-Session-API-Key": "s", "X-User-Id": "ann", "x-request-id": "r-1"}
    async with http.post(PATH, json=BODY, headers={**sent, "Idempotency-Key": "once"}) as response:
        assert response.headers["x-request-id"] == "r-1"
    (call,) = server.calls
    assert {name: call.metadata[name.lower()] for name in sent} == sent
    assert call.request.request_id == "once"


async def test_a_key_that_is_not_ascii_is_a_wrong_key(http: aiohttp.ClientSession) -> None:
    async with http.post(PATH, json=BODY, headers={"Authorization": "Bearer schlüssel"}) as response:
        assert response.status == 401
        assert (await response.json())["error"]["code"] == "invalid_api_key"


async def test_a_stranger_is_told_so_before_anything_else(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies["ListAgents"] = refusal(grpc.StatusCode.UNAUTHENTICATED, "KEY_UNKNOWN", "No such key.")
    async with http.post(PATH, data=b"{not json") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["X-Conversation-Id", "X-Hermes-Session-Id", "X-OpenHands-ServerConversation-ID"])
async def test_the_conversation_comes_back_under_the_name_it_was_sent_by(
    http: aiohttp.ClientSession, server: FakeServer, name: str
) -> None:
    events = read_log("text")
    events[0].run_queued.spec.MergeFrom(run_pb2.RunSpec(conversation_id="home"))
    server.plays(events)
    async with http.post(PATH, json=BODY, headers={name: "home"}) as response:
        assert response.headers[name] == "home"
    assert server.calls[0].request.spec.conversation_id == "home"


@pytest.fixture
def sdk(shim_url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{shim_url}/v1", api_key="k", max_retries=0)


async def test_the_official_sdk_collects_parallel_calls(sdk: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.plays("client_tools")
    async with (
        sdk,
        sdk.chat.completions.stream(model="assistant", messages=[{"role": "user", "content": "weather?"}]) as stream,
    ):
        completion = await stream.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.id, call.function.arguments) for call in calls] == [
        ("call_0", '{"city": "Oslo"}'),
        ("call_1", '{"city":"Bergen", "n": 1e2,}'),
    ]
    assert completion.choices[0].finish_reason == "tool_calls"


async def test_the_official_sdk_raises_where_a_stream_breaks(sdk: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.plays("failed_in_the_middle")
    async with sdk:
        stream = await sdk.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match="cut the answer off"):
            async for _ in stream:
                pass


async def test_the_official_sdk_reads_a_whole_answer(sdk: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.plays("reasoning")
    async with sdk:
        completion = await sdk.chat.completions.create(model="assistant", messages=[{"role": "user", "content": "x"}])
    assert completion.choices[0].message.content == "Good day."
    assert completion.usage is not None
    assert completion.usage.completion_tokens_details is not None
    assert completion.usage.completion_tokens_details.reasoning_tokens == 24


async def test_the_official_sdk_reads_a_numbered_stream(sdk: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.plays("text")
    text = ""
    async with sdk:
        stream = await sdk.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "x"}], stream=True, store=True
        )
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert text.startswith("Hello")


@pytest.mark.parametrize("name", ["X-Conversation-Id", "X-Hermes-Session-Id"])
@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_refusal_names_the_conversation_too(
    http: aiohttp.ClientSession, server: FakeServer, body: dict[str, Any], name: str
) -> None:
    server.steps = [refusal(grpc.StatusCode.ABORTED, "CONVERSATION_LOCKED", "Busy.")]
    async with http.post(PATH, json=body, headers={name: "home", "X-Conversation-Busy": "reject"}) as response:
        assert response.status == 409
        assert response.headers[name] == "home"
        assert (await response.json())["error"]["code"] == "conversation_locked"
    assert server.calls[0].request.spec.busy_policy == run_pb2.BUSY_POLICY_REJECT


async def test_a_key_that_came_with_another_body_is_refused(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.steps = [refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "Another body.")]
    async with http.post(PATH, json=BODY, headers={"Idempotency-Key": "once"}) as response:
        assert response.status == 422
        error = (await response.json())["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "idempotency_key_reused")
