"""The edges of the HTTP API: one shape of error everywhere, and tolerance where clients need it."""

import json
from typing import Any, NamedTuple

import aiohttp
import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.sdk import Sdk, user
from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE
from tests.support.system import System

CHAT = "/v1/chat/completions"
MESSAGES = user("hello")


class Fault(NamedTuple):
    """A request that is refused, and how."""

    name: str
    body: Any
    status: int = 400
    code: str | None = None
    param: str | None = None
    method: str = "POST"
    path: str = CHAT
    also_streamed: bool = True


def _chat(**fields: Any) -> dict[str, Any]:
    return {"model": "assistant", "messages": MESSAGES, **fields}


def _content(*parts: Any) -> dict[str, Any]:
    return _chat(messages=[{"role": "user", "content": list(parts)}])


FAULTS = [
    Fault("an array as body", b"[]"),
    Fault("no JSON", b"{"),
    Fault("NaN", b'{"model": "assistant", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}'),
    Fault("no UTF-8", b'{"model": "assistant", "messages": [{"role": "user", "content": "\xff"}]}'),
    Fault("a broken escape", b'{"model": "\\x"}'),
    Fault("deep nesting", b"[" * 100_000),
    Fault("deep nesting inside", b'{"model":"assistant","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    Fault("nothing", b""),
    Fault("no model", {"messages": MESSAGES}, code="missing_required_parameter", param="model"),
    Fault("a model that is no text", _chat(model=7), code="invalid_type", param="model"),
    Fault("an unknown model", _chat(model="gpt-99"), 404, "model_not_found", "model"),
    Fault("no messages", {"model": "assistant"}, code="missing_required_parameter", param="messages"),
    Fault("empty messages", _chat(messages=[]), param="messages", code="invalid_value"),
    Fault("text as messages", _chat(messages="hello"), code="invalid_type", param="messages"),
    Fault("a message that is text", _chat(messages=["hello"]), code="invalid_type", param="messages[0]"),
    Fault(
        "a message without role",
        _chat(messages=[{"content": "a"}]),
        code="missing_required_parameter",
        param="messages[0].role",
    ),
    Fault(
        "an unknown role",
        _chat(messages=[{"role": "robot", "content": "a"}]),
        code="invalid_value",
        param="messages[0].role",
    ),
    Fault("an unknown part", _content({"type": "smell"}), param="messages[0].content", code="unsupported_content_type"),
    Fault(
        "a picture that is none",
        _content({"type": "image_url", "image_url": {"url": "data:text/plain;base64,aGk="}}),
        param="messages[0].content",
        code="unsupported_content_type",
    ),
    Fault(
        "a picture from a disk",
        _content({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        param="messages[0].content",
        code="invalid_image_url",
    ),
    Fault(
        "a tool output without its call",
        _chat(messages=[*MESSAGES, {"role": "tool", "tool_call_id": "call_9", "content": "a"}]),
        param="messages[1].tool_call_id",
        code="call_not_found",
    ),
    Fault("too hot", _chat(temperature=2.5), param="temperature", code="invalid_value"),
    Fault("too many choices", _chat(n=129), param="n", code="invalid_value"),
    Fault("no choices", _chat(n=0), param="n", code="invalid_value"),
    Fault("several choices of an agent with tools", _chat(model="tooled", n=2), param="n"),
    Fault(
        "stream_options without stream",
        _chat(stream_options={"include_usage": True}),
        param="stream_options",
        code="invalid_value",
        also_streamed=False,
    ),
    Fault("an unknown tool choice", _chat(tool_choice="sometimes"), param="tool_choice", code="invalid_value"),
    Fault(
        "a tool that is not there",
        _chat(tool_choice={"type": "function", "function": {"name": "gone"}}),
        param="tool_choice",
    ),
    Fault("functions", _chat(functions=[]), param="functions", code="unsupported_parameter"),
    Fault(
        "audio", _chat(audio={"voice": "a"}, modalities=["text", "audio"]), param="audio", code="unsupported_parameter"
    ),
    Fault("an unknown route", None, 404, "not_found", path="/v1/nothing"),
    Fault(
        "an unknown route under models", None, 404, "model_not_found", "model", method="GET", path="/v1/models/gpt-99"
    ),
    Fault("a method that there is not", None, 405, "method_not_allowed", method="PUT"),
    Fault("a method that there is not on models", None, 405, "method_not_allowed", method="DELETE", path="/v1/models"),
]


def _named(fault: Fault) -> str:
    return fault.name


@pytest.mark.parametrize("fault", FAULTS, ids=_named)
async def test_a_fault_has_openais_shape(http: aiohttp.ClientSession, fault: Fault) -> None:
    await _check(http, fault, json.dumps(fault.body).encode() if isinstance(fault.body, dict) else fault.body)


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if isinstance(fault.body, dict) and fault.also_streamed], ids=_named
)
async def test_a_fault_of_a_stream_is_a_plain_answer_too(http: aiohttp.ClientSession, fault: Fault) -> None:
    await _check(http, fault, json.dumps({**fault.body, "stream": True}).encode())


async def _check(http: aiohttp.ClientSession, fault: Fault, body: bytes | None) -> None:
    headers = {"Content-Type": "application/json"}
    async with http.request(fault.method, fault.path, data=body, headers=headers) as response:
        assert (response.status, response.content_type) == (fault.status, "application/json"), await response.text()
        assert response.headers["x-request-id"]
        answer = await response.json()
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["message"]
    assert (answer["error"]["param"] or "").startswith(fault.param or ""), answer
    assert (fault.param is None) == (answer["error"]["param"] is None), answer
    if fault.code is not None:
        assert answer["error"]["code"] == fault.code, answer


@pytest.mark.parametrize(
    "extra",
    [
        {"an_unknown_field": {"a": [1]}},
        {"temperature": None, "stop": None, "tools": None, "stream": None, "response_format": None, "user": None},
        {"stream_options": None, "n": None, "max_tokens": None, "tool_choice": None, "metadata": None},
    ],
    ids=["an unknown field", "nulls", "more nulls"],
)
async def test_what_clients_send_besides_is_tolerated(sdk: Sdk, model: ModelServer, extra: dict[str, Any]) -> None:
    completion = await sdk.complete(model="assistant", messages=MESSAGES, extra_body=extra)
    assert completion.choices[0].message.content == "hello"


async def test_an_unknown_field_reaches_the_model(sdk: Sdk, model: ModelServer) -> None:
    await sdk.complete(model="assistant", messages=MESSAGES, extra_body={"repetition_penalty": 1.1})
    assert model.requests[0].body["repetition_penalty"] == 1.1


@pytest.mark.parametrize(("spelling", "streams"), [("false", False), ("true", True)])
async def test_booleans_may_be_text(
    http: aiohttp.ClientSession, model: ModelServer, spelling: str, streams: bool
) -> None:
    async with http.post(CHAT, json=_chat(stream=spelling)) as response:
        assert response.status == 200
        assert (response.content_type == "text/event-stream") == streams
        await response.read()


async def test_a_body_of_several_megabytes_is_taken(sdk: Sdk, model: ModelServer) -> None:
    url = "data:image/png;base64," + "A" * (8 * 1024 * 1024)
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    await sdk.complete(model="assistant", messages=[{"role": "user", "content": content}])
    assert model.requests[0].messages[0]["content"][1]["image_url"]["url"] == url


async def test_two_thousand_messages_are_taken(sdk: Sdk, model: ModelServer) -> None:
    messages = [{"role": ("user", "assistant")[turn % 2], "content": str(turn)} for turn in range(2001)]
    await sdk.complete(model="assistant", messages=messages)
    assert [message["content"] for message in model.requests[0].messages] == [str(turn) for turn in range(2001)]


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_too_large_a_body_is_refused(system: System, chunked: bool) -> None:
    # Without asyncio: there, a connection that is closed while it still has something to send outlives the test.
    size = 33 * 1024 * 1024
    pieces = (b"a" * 65536 for _ in range(size // 65536 + 1))
    response = httpx2.post(
        system.url + CHAT,
        content=pieces if chunked else b"a" * size,
        headers={"Content-Type": "application/json"},
        timeout=PATIENCE,
    )
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    "text", ["a\x00b", "\ud83d", "a\u2028\u0085b", "e\u0301 👩‍👩‍👧"], ids=["NUL", "half a pair", "lines", "joined"]
)
async def test_odd_text_breaks_nothing(http: aiohttp.ClientSession, model: ModelServer, text: str) -> None:
    data = json.dumps(_chat(messages=user(text))).encode()
    async with http.post(CHAT, data=data, headers={"Content-Type": "application/json"}) as response:
        assert response.status in {200, 400}
        answer = await response.json()
    if response.status == 200:
        assert answer["choices"][0]["message"]["content"] == text


async def test_a_token_that_is_not_ascii_is_no_server_error(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, json=_chat(), headers={"Authorization": "Bearer schlüssel"}) as response:
        assert response.status == 401
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}


async def test_models_are_the_agents(client: AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]
    assert {"demo", "assistant", "tooled"} <= {model.id for model in models}
    assert {(model.object, type(model.created), type(model.owned_by)) for model in models} == {("model", int, str)}
    assert (await client.models.retrieve("demo")).id == "demo"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-99")


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
async def test_health_needs_nothing(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert (response.status, (await response.json())["status"]) == (200, "ok")


async def test_the_root_lists_what_there_is(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as response:
        listing = await response.json()
    assert listing["name"] == "breezeway"
    assert "POST /v1/chat/completions" in listing["endpoints"]
    async with http.get("/", headers={"Accept": "text/html"}) as response:
        assert "<h1>Breezeway" in await response.text()


async def test_every_answer_has_a_request_id_and_security_headers(http: aiohttp.ClientSession) -> None:
    for path in ("/health", "/v1/nothing", "/v1/models"):
        async with http.get(path, headers={"x-request-id": "from-the-mesh-1"}) as response:
            assert response.headers["x-request-id"] == "from-the-mesh-1"
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_upstream_connections_are_kept(sdk: Sdk, model: ModelServer) -> None:
    for _ in range(3):
        await sdk.complete(model="assistant", messages=MESSAGES)
    assert model.connections == 1
