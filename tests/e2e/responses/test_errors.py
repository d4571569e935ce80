"""Errors of responses: what is wrong with a request is named, and what goes wrong with a model is never an answer."""

import io
import json
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import KEY
from tests.e2e.responses.openai_http import Json, OpenAIHttp, message, output_of
from tests.support.model_server import Cut, ModelServer, Raw, Refusal, Script, Stream, answer, error, text

HI = [{"role": "user", "content": "hi"}]
FAULTS: list[tuple[str, Any, tuple[int, str | None, str | None]]] = [
    ("no model", {"model": None, "input": "hi"}, (400, "invalid_type", "model")),
    ("unknown model", {"model": "nobody", "input": "hi"}, (404, "model_not_found", "model")),
    ("no input", {}, (400, None, "input")),
    ("empty list", {"input": []}, (400, None, "input")),
    ("input of another type", {"input": 7}, (400, "invalid_type", "input")),
    ("unknown item", {"input": [{"type": "computer_call"}]}, (400, "unsupported_value", "input[0].type")),
    ("unknown role", {"input": [{"role": "robot", "content": "hi"}]}, (400, "invalid_value", "input[0].role")),
    ("no content", {"input": [{"role": "user"}]}, (400, "missing_required_parameter", "input[0].content")),
    ("unknown call id", {"input": [*HI, output_of("call_x", "?")]}, (400, "call_not_found", "input[1].call_id")),
    (
        "unknown reference",
        {"input": [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": "msg_x"}]},
        (404, "not_found", "input[1].id"),
    ),
    (
        "unknown reference in the history",
        {"input": "hi", "conversation_history": [{"type": "item_reference", "id": "msg_x"}]},
        (404, "not_found", "conversation_history[0].id"),
    ),
    (
        "unknown response",
        {"input": "hi", "previous_response_id": "resp_x"},
        (400, "previous_response_not_found", "previous_response_id"),
    ),
    (
        "unknown conversation",
        {"input": "hi", "conversation": "conv_x"},
        (404, "conversation_not_found", "conversation"),
    ),
    (
        "audio",
        {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        (400, "unsupported_content_type", "input[0].content"),
    ),
    (
        "image URL",
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}]},
        (400, "invalid_image_url", "input[0].content"),
    ),
    ("temperature", {"input": "hi", "temperature": 3}, (400, None, "temperature")),
    ("top_p", {"input": "hi", "top_p": "much"}, (400, "invalid_type", "top_p")),
    ("max_output_tokens", {"input": "hi", "max_output_tokens": 0}, (400, None, "max_output_tokens")),
    ("truncation", {"input": "hi", "truncation": "some"}, (400, "invalid_value", "truncation")),
    ("include", {"input": "hi", "include": ["all"]}, (400, "invalid_value", "include[0]")),
    ("metadata", {"input": "hi", "metadata": {"k": 1}}, (400, "invalid_type", "metadata")),
    ("tool", {"input": "hi", "tools": [{"type": "web_search"}]}, (400, "unsupported_value", "tools[0].type")),
    (
        "tool name",
        {"input": "hi", "tools": [{"type": "function", "name": "a b"}]},
        (400, None, "tools[0].name"),
    ),
    ("tool choice", {"input": "hi", "tool_choice": "some"}, (400, "invalid_value", "tool_choice")),
    ("format", {"input": "hi", "text": {"format": {"type": "xml"}}}, (400, "invalid_value", "text.format.type")),
    (
        "format without schema",
        {"input": "hi", "text": {"format": {"type": "json_schema", "name": "n"}}},
        (400, "missing_required_parameter", "text.format.schema"),
    ),
    ("prompt", {"input": "hi", "prompt": {"id": "p"}}, (400, "unsupported_parameter", "prompt")),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("body", "expected"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
async def test_a_fault_of_the_request_is_named(
    openai_http: OpenAIHttp,
    model: ModelServer,
    body: Json,
    expected: tuple[int, str | None, str | None],
    stream: bool,
) -> None:
    assert await openai_http.refused(**body, stream=stream) == expected
    assert model.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"hi"',
        b"{",
        b'{"model":"assistant","input":NaN}',
        b'{"model":"assistant","input":"\xff"}',
        b'{"model":"assistant","input":"\\ud800"}',
        b'{"model":"assistant","input":"\\x"}',
        b'{"model":"assistant","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["empty", "list", "text", "cut", "NaN", "not UTF-8", "lone surrogate", "escape", "deep"],
)
async def test_what_is_no_request_is_refused(openai_http: OpenAIHttp, body: bytes) -> None:
    status, _, _ = await openai_http.error("POST", "/v1/responses", data=body)
    assert status == 400


async def test_what_is_odd_but_right_is_taken(openai_http: OpenAIHttp, model: ModelServer) -> None:
    await openai_http.create(input="\0 \u2028 \U0010ffff")
    assert model.requests[-1].last_user_text == "\0 \u2028 \U0010ffff"
    await openai_http.create(input=[message("user", str(number)) for number in range(2000)])
    assert len(model.requests[-1].messages) == 2000
    picture = "data:image/png;base64," + "A" * 3_000_000
    items = [{"role": "user", "content": [{"type": "input_image", "image_url": picture}]}]
    large = io.BytesIO(json.dumps({"model": "assistant", "input": items}).encode())
    await openai_http.json("POST", "/v1/responses", data=large)
    assert model.requests[-1].messages[0]["content"][0]["image_url"]["url"] == picture


FAILURES: list[tuple[str, Script, tuple[int, str | None]]] = [
    ("rate limit", error(429, headers={"Retry-After": "7"}), (429, "rate_limit_exceeded")),
    ("server error", error(500), (502, "upstream_error")),
    ("no permission", error(401, f"Incorrect API key provided: {KEY}"), (502, "upstream_auth")),
    ("a page", Refusal(503, "<h1>down</h1>"), (502, "upstream_error")),
    ("cut", Stream([*text("half"), Cut()]), (502, "upstream_cut")),
    ("malformed", Stream([*text("half"), Raw(b"data: {nonsense\n\n")]), (502, "upstream_malformed")),
]


@pytest.mark.parametrize(
    ("reply", "expected"), [failure[1:] for failure in FAILURES], ids=[failure[0] for failure in FAILURES]
)
async def test_a_models_failure_is_never_an_answer(
    openai_http: OpenAIHttp,
    http: aiohttp.ClientSession,
    model: ModelServer,
    reply: Script,
    expected: tuple[int, str | None],
) -> None:
    model.enqueue(reply, reply)
    async with http.post("/v1/responses", json={"model": "once", "input": "hi"}) as response:
        body = await response.json()
        assert (response.status, body["error"]["code"]) == expected
        assert response.headers["X-Run-Id"].startswith("run_")
        if expected[0] == 429:
            assert response.headers["Retry-After"] == "7"
        assert KEY not in str(body)
    *events, last = await openai_http.stream(model="once", input="hi")
    assert last["type"] == "response.failed"
    failed = last["response"]
    assert failed["status"] == "failed"
    assert failed["error"]["code"] in {"server_error", "rate_limit_exceeded"}
    assert failed["error"]["message"]
    assert KEY not in str(events) + str(last)
    assert not any(event["type"] == "response.completed" for event in events)
    assert await openai_http.get(failed["id"]) == failed


async def test_a_parameter_that_the_model_refuses_is_named(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(error(400, "Unsupported value", param="temperature", code="unsupported_value"))
    assert await openai_http.refused(model="once", input="hi", temperature=1.5) == (
        400,
        "unsupported_value",
        "temperature",
    )


async def test_a_tool_that_the_agent_has_itself_is_refused(openai_http: OpenAIHttp, model: ModelServer) -> None:
    tool = {"type": "function", "name": "weather", "parameters": {}}
    status, code, param = await openai_http.refused(model="tooled", input="hi", tools=[tool])
    assert (status, code, param) == (400, "tool_name_clash", "tools")


async def test_every_answer_carries_a_request_id(http: aiohttp.ClientSession, model: ModelServer) -> None:
    model.enqueue(answer("so"))
    for method, path, body in (
        ("POST", "/v1/responses", {"model": "assistant", "input": "hi"}),
        ("POST", "/v1/responses", {}),
        ("GET", "/v1/responses/resp_1", None),
        ("GET", "/v1/nowhere", None),
        ("PATCH", "/v1/responses", {}),
    ):
        async with http.request(method, path, json=body) as response:
            assert response.headers["x-request-id"]
            assert response.content_type == "application/json"
