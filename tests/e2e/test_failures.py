"""A model that fails: the HTTP status, the frame of a stream and the run's error, and never an answer."""

import json
from typing import Any, NamedTuple

import aiohttp
import openai
import pytest
from breezeway.v1 import item_pb2

from tests.e2e.conftest import KEY
from tests.e2e.native import Native
from tests.e2e.sdk import Sdk, data_of, user
from tests.support.model_server import (
    DONE,
    Cut,
    Hold,
    ModelServer,
    Raw,
    Refusal,
    Request,
    Script,
    Stream,
    answer,
    call,
    calls,
    error,
    text,
    usage,
)


def _silent(_: Request) -> Stream:
    return Stream([Hold()])


def _half(_: Request) -> Stream:
    return Stream([*text("half "), Hold()])


class Failure(NamedTuple):
    """What the model does, and what becomes of it on each wire."""

    name: str
    reply: Script | None
    reason: str
    status: int
    code: str
    agent: str = "once"
    headers: dict[str, str] = {}  # noqa: RUF012  a named tuple's default, which nobody changes
    param: str | None = None


AT_ONCE = [
    Failure(
        "400 of a parameter",
        error(400, "top_p is too large", type="invalid_request_error", param="top_p", code="invalid_value"),
        "UPSTREAM_REJECTED",
        400,
        "invalid_value",
        param="top_p",
    ),
    Failure("422", error(422, "no"), "UPSTREAM_REJECTED", 400, "upstream_rejected"),
    Failure("401", error(401, f"Incorrect API key provided: {KEY}"), "UPSTREAM_AUTH", 502, "upstream_auth"),
    Failure("403", error(403, "no"), "UPSTREAM_AUTH", 502, "upstream_auth"),
    Failure("404", error(404, "no", code="model_not_found"), "UPSTREAM_ERROR", 502, "model_not_found"),
    Failure(
        "429",
        error(429, f"slow down, {KEY}", headers={"Retry-After": "7"}),
        "UPSTREAM_RATE_LIMITED",
        429,
        "rate_limit_exceeded",
        headers={"Retry-After": "7"},
    ),
    Failure("500", error(500, f"broken with {KEY}"), "UPSTREAM_ERROR", 502, "upstream_error"),
    Failure("503 of a proxy", Refusal(503, f"<h1>down {KEY}</h1>"), "UPSTREAM_ERROR", 502, "upstream_error"),
    Failure("nothing but a cut", Stream([Cut()]), "UPSTREAM_CUT", 502, "upstream_cut"),
    Failure(
        "no stream", Stream([Raw(b"<html>")], content_type="text/html"), "UPSTREAM_MALFORMED", 502, "upstream_malformed"
    ),
    Failure("no JSON", Stream([Raw(b"data: {nonsense\n\n")]), "UPSTREAM_MALFORMED", 502, "upstream_malformed"),
    Failure("no listener", None, "UPSTREAM_UNAVAILABLE", 502, "upstream_unavailable", agent="unreachable"),
    Failure("no first token", _silent, "UPSTREAM_TIMEOUT", 504, "upstream_timeout", agent="impatient"),
    Failure("no end in time", _silent, "UPSTREAM_TIMEOUT", 504, "upstream_timeout", agent="hasty"),
]
HALFWAY = [
    Failure("cut", Stream([*text("half ", "an "), Cut()]), "UPSTREAM_CUT", 502, "upstream_cut"),
    Failure("no end", Stream([*text("half ", "an ")]), "UPSTREAM_CUT", 502, "upstream_cut"),
    Failure(
        "no JSON",
        Stream([*text("half "), Raw(b"data: {nonsense\n\n")]),
        "UPSTREAM_MALFORMED",
        502,
        "upstream_malformed",
    ),
    Failure(
        "an error in the stream",
        Stream([*text("half "), Raw(f'data: {{"error": {{"message": "no {KEY}", "code": 500}}}}\n\n'.encode()), DONE]),
        "UPSTREAM_ERROR",
        502,
        "upstream_error",
    ),
    Failure("silence", _half, "UPSTREAM_TIMEOUT", 504, "upstream_timeout", agent="halfhearted"),
]
# On a busy machine the time is over before the half has come, so nothing is said of what comes before the failure.
SOMEWHERE = [Failure("half in time", _half, "UPSTREAM_TIMEOUT", 504, "upstream_timeout", agent="hasty")]


def _named(failure: Failure) -> str:
    return failure.name


@pytest.mark.parametrize("failure", [*AT_ONCE, *HALFWAY, *SOMEWHERE], ids=_named)
async def test_a_failure_is_an_http_status(http: aiohttp.ClientSession, model: ModelServer, failure: Failure) -> None:
    _script(model, failure)
    async with http.post("/v1/chat/completions", json={"model": failure.agent, "messages": user("hello")}) as response:
        _check_error(await response.text(), failure)
        assert response.status == failure.status
        assert {name: response.headers.get(name) for name in failure.headers} == failure.headers
        assert response.headers["x-request-id"]


@pytest.mark.parametrize("failure", AT_ONCE, ids=_named)
async def test_a_failure_before_the_first_token_is_no_stream(
    http: aiohttp.ClientSession, model: ModelServer, failure: Failure
) -> None:
    _script(model, failure)
    body = {"model": failure.agent, "stream": True, "messages": user("hello")}
    async with http.post("/v1/chat/completions", json=body) as response:
        _check_error(await response.text(), failure)
        assert (response.status, response.content_type) == (failure.status, "application/json")
        assert {name: response.headers.get(name) for name in failure.headers} == failure.headers


@pytest.mark.parametrize("failure", HALFWAY, ids=_named)
async def test_a_failure_in_the_middle_is_the_last_frame(
    http: aiohttp.ClientSession, model: ModelServer, failure: Failure
) -> None:
    _script(model, failure)
    body = {"model": failure.agent, "stream": True, "messages": user("hello")}
    async with http.post("/v1/chat/completions", json=body) as response:
        assert response.status == 200
        raw = await response.text()
    *chunks, last = data_of(raw)
    assert "half " in raw
    _check_error(last, failure)
    assert {choice["finish_reason"] for chunk in map(json.loads, chunks) for choice in chunk["choices"]} == {None}
    assert "[DONE]" not in raw


@pytest.mark.parametrize("failure", [*HALFWAY, *SOMEWHERE], ids=_named)
async def test_the_sdk_raises_in_the_middle(sdk: Sdk, model: ModelServer, failure: Failure) -> None:
    _script(model, failure)
    with pytest.raises(openai.APIError) as caught:
        await sdk.stream(model=failure.agent, messages=user("hello"))
    assert caught.value.code == failure.code
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("failure", [*AT_ONCE, *HALFWAY, *SOMEWHERE], ids=_named)
async def test_a_failure_ends_the_run(native: Native, model: ModelServer, failure: Failure) -> None:
    _script(model, failure)
    events = [event async for event in native.stream(failure.agent, "hello")]
    failed = events[-1].run_failed.error
    assert failed.reason == failure.reason
    assert failed.message
    assert KEY not in str(events)
    assert failed.retry_after.seconds == int(failure.headers.get("Retry-After", "0"))
    closed = [event.item_completed.item for event in events if event.HasField("item_completed")]
    assert [item.status for item in closed] == [item_pb2.ITEM_STATUS_INCOMPLETE] * len(closed)


async def test_what_a_failed_run_has_used_is_told(native: Native, model: ModelServer) -> None:
    model.enqueue(
        calls(call("weather", {"city": "Rome"}, call_id="call_1"), tokens=(10, 5)),
        Stream([*text("half "), usage(20, 2), Cut()]),
    )
    events = [event async for event in native.stream("tooled", "How is Rome?")]
    failed = events[-1].run_failed
    assert failed.error.reason == "UPSTREAM_CUT"
    assert (failed.usage.input_tokens, failed.usage.output_tokens, failed.usage.model_calls) == (30, 7, 2)


async def test_the_sdk_sees_a_rate_limit_as_one(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(error(429, "slow down", headers={"Retry-After": "7"}))
    with pytest.raises(openai.RateLimitError) as caught:
        await sdk.complete(model="once", messages=user("hello"))
    assert caught.value.response.headers["Retry-After"] == "7"


async def test_a_failure_is_no_history(sdk: Sdk, model: ModelServer) -> None:
    """What went wrong in one request is nothing to the next."""
    model.enqueue(error(500, "broken"))
    with pytest.raises(openai.InternalServerError):
        await sdk.complete(model="once", messages=user("hello"))
    completion = await sdk.complete(model="once", messages=user("hello again"))
    assert completion.choices[0].message.content == "hello again"
    assert [message["content"] for message in model.requests[-1].messages] == ["hello again"]


async def test_a_passing_failure_is_tried_again_before_the_first_token(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(error(503, "busy"), answer("there"))
    completion = await sdk.complete(model="assistant", messages=user("hello"))
    assert completion.choices[0].message.content == "there"
    assert len(model.requests) == 2


async def test_nothing_is_tried_again_after_the_first_token(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(Stream([*text("half "), Cut()]), answer("whole"))
    with pytest.raises(openai.APIError):
        await sdk.stream(model="assistant", messages=user("hello"))
    assert len(model.requests) == 1


async def test_a_fallback_model_answers(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(error(500, "broken"), answer("from the spare"))
    completion = await sdk.complete(model="careful", messages=user("hello"))
    assert completion.choices[0].message.content == "from the spare"
    assert completion.model == "careful"
    assert [request.body["model"] for request in model.requests] == ["scripted", "spare"]


async def test_the_operators_key_reaches_the_model_and_nobody_else(
    http: aiohttp.ClientSession, model: ModelServer
) -> None:
    model.enqueue(error(400, f"key {KEY} may not", type="invalid_request_error"))
    async with http.post("/v1/chat/completions", json={"model": "once", "messages": user("hello")}) as response:
        assert KEY not in await response.text()
        assert KEY not in str(response.headers)
    assert model.requests[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_the_callers_key_never_reaches_the_model(sdk: Sdk, model: ModelServer) -> None:
    await sdk.complete(model="assistant", messages=user("hello"), extra_headers={"Authorization": "Bearer callers-own"})
    assert "callers-own" not in str(model.requests[0].headers)


async def test_the_demo_fails_on_request(http: aiohttp.ClientSession) -> None:
    body: dict[str, Any] = {"model": "demo", "messages": user("Please fail.")}
    async with http.post("/v1/chat/completions", json=body) as response:
        assert response.status == 502
        assert (await response.json())["error"]["code"] == "demo_failure"


def _script(model: ModelServer, failure: Failure) -> None:
    if failure.reply is not None:
        model.enqueue(failure.reply)


def _check_error(body: str, failure: Failure) -> None:
    assert KEY not in body
    fault = json.loads(body)["error"]
    assert set(fault) == {"message", "type", "param", "code"}
    assert fault["code"] == failure.code
    assert fault["message"]
    assert fault["param"] == failure.param
