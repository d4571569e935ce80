"""Leaving and cancelling: the model's generation stops, and the run ends CANCELLED with its usage."""

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp
import grpc
import openai
import pytest
from breezeway.v1 import item_pb2, run_pb2, stream_service_pb2
from openai import AsyncOpenAI

from tests.e2e.native import Native
from tests.e2e.sdk import user
from tests.support.model_server import DONE, Action, Hold, ModelServer, Request, Stream, finish, text, usage
from tests.support.patience import PATIENCE

# What is promised is 250 ms. A test must not fail because its machine is busy, so it prints the time and waits for the
# event, which nothing but the cancel brings about: the model's answers here have no end.
_PROMISED_MILLISECONDS = 250

# Some models report what they have used as they go, so that it is known when they are cut off.
_SPEAKING: Sequence[Action] = [*text("one "), usage(9, 2), *text("two ")]
_SILENT: Sequence[Action] = []
_END: Sequence[Action] = [finish(), usage(9, 3), DONE]


def _held(before: Sequence[Action]) -> Stream:
    return Stream([*before, Hold()])


@pytest.mark.parametrize("before", [_SPEAKING, _SILENT], ids=["while it speaks", "while it is silent"])
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "not streaming"])
async def test_hanging_up_stops_the_model(
    http: aiohttp.ClientSession, model: ModelServer, native: Native, stream: bool, before: Sequence[Action]
) -> None:
    model.enqueue(_held(before))
    body = {"model": "assistant", "stream": stream, "messages": user("hello")}
    left = await _leave(http, model, body, wait_for_words=stream and bool(before))
    await _gone_in_time(left.request, left.at)
    if left.run_id:
        run = await native.ended(left.run_id)
        assert run.state == run_pb2.RUN_STATE_CANCELLED
        assert (run.usage.input_tokens, run.usage.output_tokens) == (9, 2)
        assert [item.status for item in run.output] == [item_pb2.ITEM_STATUS_INCOMPLETE]


async def test_a_stored_chat_goes_on_when_its_client_hangs_up(
    http: aiohttp.ClientSession, model: ModelServer, native: Native
) -> None:
    model.enqueue(Stream([*text("one ", "two "), Hold(gate := asyncio.Event()), *text("three"), *_END]))
    body = {"model": "assistant", "stream": True, "store": True, "messages": user("hello")}
    run_id, request, _ = await _leave(http, model, body, wait_for_words=True)
    assert (await native.get(run_id)).state == run_pb2.RUN_STATE_IN_PROGRESS
    gate.set()
    run = await native.ended(run_id)
    assert run.state == run_pb2.RUN_STATE_COMPLETED
    assert run.output[0].message.content[0].text.text == "one two three"
    assert not request.gone.is_set()


async def test_closing_the_sdks_stream_stops_the_model(client: AsyncOpenAI, model: ModelServer, native: Native) -> None:
    model.enqueue(_held(_SPEAKING))
    stream = await client.chat.completions.create(model="assistant", messages=user("hello"), stream=True)
    chunk = await anext(stream)
    left_at = _now()
    await stream.close()
    await _gone_in_time(await model.arrival(), left_at)
    assert (await native.ended(chunk.id)).state == run_pb2.RUN_STATE_CANCELLED


async def test_a_client_that_gives_up_waiting_stops_the_model(client: AsyncOpenAI, model: ModelServer) -> None:
    model.models["scripted"] = _held(_SILENT)
    seconds = 0.3
    # On a busy machine it gives up before its request has come to the model, and is more patient the next time.
    while not model.requests:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(model="assistant", messages=user("hello"), timeout=seconds)
        seconds *= 2
    async with asyncio.timeout(PATIENCE):
        await (await model.arrival()).gone.wait()


@pytest.mark.parametrize("before", [_SPEAKING, _SILENT], ids=["while it speaks", "while it is silent"])
async def test_cancel_run_settles(native: Native, model: ModelServer, before: Sequence[Action]) -> None:
    model.enqueue(_held(before))
    run = await native.create("assistant", "hello")
    request = await model.arrival()
    if before:
        async for event in native.follow(run.id):
            if event.text_delta.text == "two ":
                break
    left_at = _now()
    cancelled = await native.cancel(run.id)
    assert cancelled.state == run_pb2.RUN_STATE_CANCELLED
    await _gone_in_time(request, left_at)
    assert (cancelled.usage.input_tokens, cancelled.usage.output_tokens) == ((9, 2) if before else (0, 0))
    events = [event async for event in native.follow(run.id)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].HasField("run_cancelled")
    assert events[-1].run_cancelled.usage == cancelled.usage
    assert await native.cancel(run.id) == cancelled, "a run that is over stays as it is"


async def test_a_stream_whose_run_somebody_cancels_ends_in_an_error(
    client: AsyncOpenAI, model: ModelServer, native: Native
) -> None:
    model.enqueue(_held(_SPEAKING))
    stream = await client.chat.completions.create(model="assistant", messages=user("hello"), stream=True)
    chunk = await anext(stream)
    await native.cancel(chunk.id)
    with pytest.raises(openai.APIError) as caught:
        async for _ in stream:
            pass
    assert caught.value.code == "run_cancelled"


@pytest.mark.parametrize(
    ("policy", "cancels"),
    [
        (stream_service_pb2.DISCONNECT_POLICY_CANCEL, True),
        (stream_service_pb2.DISCONNECT_POLICY_CONTINUE, False),
        (stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED, False),
    ],
    ids=["cancel", "continue", "a stored run by default"],
)
async def test_leaving_a_grpc_stream_does_what_was_agreed(
    native: Native,
    model: ModelServer,
    policy: stream_service_pb2.DisconnectPolicy.ValueType,
    cancels: bool,
) -> None:
    model.enqueue(Stream([*text("one "), Hold(gate := asyncio.Event()), *text("two"), *_END]))
    events = native.stream("assistant", "hello", on_disconnect=policy)
    run_id = (await anext(events)).run_id
    request = await model.arrival()
    left_at = _now()
    await events.aclose()
    if cancels:
        await _gone_in_time(request, left_at)
    gate.set()
    run = await native.ended(run_id)
    assert run.state == (run_pb2.RUN_STATE_CANCELLED if cancels else run_pb2.RUN_STATE_COMPLETED)


async def test_a_run_that_nobody_knows_cannot_be_cancelled(native: Native) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await native.cancel(f"run_{0:032x}")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


class Left(NamedTuple):
    """What somebody who hung up left behind."""

    run_id: str
    request: Request
    at: float


async def _leave(
    http: aiohttp.ClientSession, model: ModelServer, body: dict[str, object], *, wait_for_words: bool
) -> Left:
    """Ask, and hang up once the model is at it; the run's id is empty where it is not known by then."""
    run_id = ""
    if wait_for_words:
        response = await http.post("/v1/chat/completions", json=body)
        request = await model.arrival()
        while b"two" not in await response.content.readline():
            pass
        run_id = response.headers["X-Run-Id"]
        response.close()
    else:
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=body).__aenter__())
        request = await model.arrival()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    return Left(run_id, request, _now())


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _gone_in_time(request: Request, left_at: float) -> None:
    async with asyncio.timeout(PATIENCE):
        await request.gone.wait()
    milliseconds = (request.gone_at - left_at) * 1000
    sys.stdout.write(
        f"the model's client was gone after {milliseconds:.0f} ms; {_PROMISED_MILLISECONDS} are promised\n"
    )
