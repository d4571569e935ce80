"""Conversations: what responses read from them and add to them, and what callers do with their items."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.e2e.responses.openai_http import Json, OpenAIHttp, function, message, output_of, text_of
from tests.support.model_server import (
    DONE,
    Hold,
    ModelServer,
    Request,
    Stream,
    answer,
    call,
    calls,
    error,
    finish,
    text,
)

UNKNOWN = "conv_019a3e5c7d0070008000000000000001"


def seen(request: Request) -> list[tuple[str, Any]]:
    return [(each["role"], each["content"]) for each in request.messages]


async def texts(openai_http: OpenAIHttp, conversation_id: str) -> list[str]:
    """What the messages of a conversation say, oldest first."""
    page = await openai_http.items(f"/v1/conversations/{conversation_id}/items", order="asc", limit=100)
    return ["".join(part["text"] for part in item["content"]) for item in page["data"] if item["type"] == "message"]


async def test_a_conversation_is_created_read_changed_and_deleted(openai_http: OpenAIHttp) -> None:
    created = await openai_http.conversation("POST", json={"metadata": {"a": "1", "b": "2"}})
    path = f"/{created['id']}"
    assert created["id"].startswith("conv_")
    assert (created["object"], created["metadata"]) == ("conversation", {"a": "1", "b": "2"})
    assert isinstance(created["created_at"], int)
    assert await openai_http.conversation("GET", path) == created
    changed = await openai_http.conversation("POST", path, json={"metadata": {"c": "3"}})
    assert changed == {**created, "metadata": {"c": "3"}} == await openai_http.conversation("GET", path)
    deleted = await openai_http.json("DELETE", f"/v1/conversations{path}")
    assert deleted == {"id": created["id"], "object": "conversation.deleted", "deleted": True}
    expected = (404, "conversation_not_found", None)
    for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/items"), ("GET", "/items/msg_1")):
        assert await openai_http.error(method, f"/v1/conversations{path}{below}") == expected
    refused = await openai_http.refused(input="hi", conversation=created["id"])
    assert refused == (404, "conversation_not_found", "conversation")


@pytest.mark.parametrize("body", [None, {}, {"metadata": None, "items": None}], ids=["no body", "empty", "nulls"])
async def test_a_conversation_needs_nothing(openai_http: OpenAIHttp, body: Json | None) -> None:
    assert (await openai_http.conversation("POST", json=body))["metadata"] == {}


async def test_items_are_added_listed_read_and_taken_out(openai_http: OpenAIHttp) -> None:
    conversation = await openai_http.conversation(
        "POST", json={"items": [{"role": "user", "content": "one"}, message("assistant", "two")]}
    )
    path = f"/v1/conversations/{conversation['id']}/items"
    added = await openai_http.add_items(
        conversation["id"],
        message("developer", "three"),
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        output_of("call_1", "seen"),
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]},
    )
    whole = await openai_http.items(path)
    assert [item["type"] for item in added["data"]] == [
        "message",
        "function_call",
        "function_call_output",
        "reasoning",
        "message",
    ]
    assert whole["data"][:5] == added["data"][::-1], "newest first"
    assert whole["data"][6]["content"] == [{"type": "input_text", "text": "one"}]
    assert whole["data"][5]["content"] == [{"type": "output_text", "text": "two", "annotations": [], "logprobs": []}]
    first = await openai_http.items(path, limit=4)
    rest = await openai_http.items(path, limit=4, after=first["last_id"])
    assert (first["data"] + rest["data"], first["has_more"], rest["has_more"]) == (whole["data"], True, False)
    assert (await openai_http.items(path, order="asc"))["data"] == whole["data"][::-1]

    item = whole["data"][2]
    assert await openai_http.json("GET", f"{path}/{item['id']}") == item
    assert await openai_http.json("DELETE", f"{path}/{item['id']}") == conversation
    assert await openai_http.error("GET", f"{path}/{item['id']}") == (404, "not_found", None)
    assert await openai_http.error("DELETE", f"{path}/{item['id']}") == (404, "not_found", None)
    assert item not in (await openai_http.items(path))["data"]


@pytest.mark.parametrize("form", ["id", "object", "name"])
async def test_a_response_reads_a_conversation_and_adds_to_it(
    openai_http: OpenAIHttp, model: ModelServer, form: str
) -> None:
    if form == "name":
        conversation_id = "My_talk-1.a"
        named: Any = conversation_id
    else:
        conversation_id = (await openai_http.conversation("POST", json={}))["id"]
        named = conversation_id if form == "id" else {"id": conversation_id}
    model.enqueue(answer("Two."), answer("Four."))
    first = await openai_http.create(input="one", conversation=named, instructions="Only here.")
    assert first["conversation"] == {"id": conversation_id}
    await openai_http.add_items(conversation_id, message("developer", "Count."))
    events = await openai_http.stream(input=[{"role": "user", "content": "three"}], conversation=named)
    assert events[0]["response"]["conversation"] == {"id": conversation_id}
    assert seen(model.requests[1]) == [
        ("developer", "Count."),
        ("user", "one"),
        ("assistant", "Two."),
        ("user", "three"),
    ]
    assert await texts(openai_http, conversation_id) == ["one", "Two.", "Count.", "three", "Four."]
    assert (await openai_http.get(first["id"]))["conversation"] == {"id": conversation_id}


@pytest.mark.parametrize("name", ["X-Conversation-Id", "X-Hermes-Session-Id", "X-OpenHands-ServerConversation-ID"])
async def test_a_header_may_name_the_conversation_and_comes_back_also_with_failures(
    http: aiohttp.ClientSession, model: ModelServer, name: str
) -> None:
    model.enqueue(answer("so"), answer("so"), error(500))
    for stream, agent, status in ((False, "once", 200), (True, "once", 200), (False, "once", 502)):
        body = {"model": agent, "input": "hi", "stream": stream}
        async with http.post("/v1/responses", json=body, headers={name: f"talk-{name}"}) as response:
            assert (response.status, response.headers[name]) == (status, f"talk-{name}")
            await response.read()
    assert len(model.requests[2].messages) == 5, "it is one conversation"


async def test_calls_and_outputs_are_items_of_the_conversation(openai_http: OpenAIHttp, model: ModelServer) -> None:
    conversation = await openai_http.conversation("POST", json={})
    named = {"conversation": conversation["id"], "model": "tooled", "tools": [function("time")]}
    model.enqueue(
        calls(call("weather", {"city": "Rome"}, call_id="call_a")),
        calls(call("time", {"city": "Rome"}, call_id="call_b")),
        answer("Sunny, noon."),
    )
    first = await openai_http.create(input="How is Rome?", **named)
    second = (await openai_http.stream(input=[output_of("call_b", "noon")], **named))[-1]["response"]
    assert text_of(second) == "Sunny, noon."
    path = f"/v1/conversations/{conversation['id']}/items"
    page = await openai_http.items(path, order="asc")
    assert [item["type"] for item in page["data"]] == [
        "message",
        "function_call",
        "function_call_output",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert page["data"][1:4] == first["output"]
    assert page["data"][5:] == second["output"]
    assert [each["role"] for each in model.requests[2].messages] == ["user", "assistant", "tool", "assistant", "tool"]


async def test_what_was_taken_out_is_not_read(openai_http: OpenAIHttp, model: ModelServer) -> None:
    conversation = await openai_http.conversation("POST", json={"items": [message("user", "secret")]})
    path = f"/v1/conversations/{conversation['id']}/items"
    (item,) = (await openai_http.items(path))["data"]
    first = await openai_http.create(input="one", conversation=conversation["id"])
    await openai_http.json("DELETE", f"{path}/{item['id']}")
    await openai_http.json("DELETE", f"{path}/{first['output'][0]['id']}")
    await openai_http.create(input="two", conversation=conversation["id"])
    assert seen(model.requests[1]) == [("user", "one"), ("user", "two")]
    assert await openai_http.get(first["id"]) == first, "the response keeps what it said"


async def test_input_items_of_a_response_are_what_it_read_of_the_conversation(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    conversation = await openai_http.conversation("POST", json={})
    first = await openai_http.create(input="one", conversation=conversation["id"])
    await openai_http.create(input="two", conversation=conversation["id"])
    read = await openai_http.input_items(first["id"])
    assert [item["content"][0]["text"] for item in read["data"]] == ["one"]


async def test_a_chain_may_leave_a_conversation(openai_http: OpenAIHttp, model: ModelServer) -> None:
    conversation = await openai_http.conversation("POST", json={})
    await openai_http.create(input="one", conversation=conversation["id"])
    second = await openai_http.create(input="two", conversation=conversation["id"])
    await openai_http.create(input="elsewhere", conversation=conversation["id"])
    await openai_http.create(input="three", previous_response_id=second["id"])
    said = [content for role, content in seen(model.requests[-1]) if role == "user"]
    assert said == ["one", "two", "three"]
    assert "three" not in await texts(openai_http, conversation["id"])


async def test_a_failed_response_leaves_a_conversation_that_goes_on(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    conversation = await openai_http.conversation("POST", json={})
    model.enqueue(Stream([*text("half")]), answer("fine"))
    *_, last = await openai_http.stream(input="one", conversation=conversation["id"], model="once")
    assert last["type"] == "response.failed"
    second = await openai_http.create(input="two", conversation=conversation["id"], model="once")
    assert text_of(second) == "fine"
    assert seen(model.requests[1])[0] == ("user", "one")


async def test_a_busy_conversation_is_locked_unless_the_request_says_what_to_do(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    gate = asyncio.Event()
    model.enqueue(Stream([*text("slow"), Hold(gate), finish(), DONE]), answer("queued"))
    first = asyncio.create_task(openai_http.create(input="one", conversation="busy"))
    await model.arrival()
    status, code, _ = await openai_http.refused(input="two", conversation="busy")
    assert (status, code) == (409, "conversation_locked")
    status, code, _ = await openai_http.error(
        "POST", "/v1/conversations/busy/items", json={"items": [message("user", "between")]}
    )
    assert (status, code) == (409, "conversation_locked")
    waiting = asyncio.create_task(openai_http.create(input="three", conversation="busy", busy_policy="queue"))
    gate.set()
    assert [text_of(response) for response in await asyncio.gather(first, waiting)] == ["slow", "queued"]
    assert await texts(openai_http, "busy") == ["one", "slow", "three", "queued"]
    model.enqueue(Stream([*text("cut"), Hold()]), answer("at once"))
    first = asyncio.create_task(openai_http.create(input="four", conversation="busy"))
    await model.arrival()
    await model.arrival()
    after = await openai_http.create(input="five", conversation="busy", busy_policy="interrupt")
    assert (text_of(after), (await first)["status"]) == ("at once", "cancelled")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"conversation": UNKNOWN}, (404, "conversation_not_found", "conversation")),
        ({"conversation": ""}, (400, "invalid_value", "conversation")),
        ({"conversation": {}}, (400, "missing_required_parameter", "conversation.id")),
        ({"conversation": "../etc"}, (400, None, "conversation")),
        ({"conversation": "a", "store": False}, (400, None, "conversation")),
        (
            {"conversation": "a", "previous_response_id": "resp_1"},
            (400, "mutually_exclusive_parameters", "previous_response_id"),
        ),
        (
            {"conversation": "a", "conversation_history": [message("user", "hi")]},
            (400, "mutually_exclusive_parameters", "conversation_history"),
        ),
        ({"conversation": 7}, (400, "invalid_type", "conversation")),
        ({"conversation": "a", "busy_policy": "wait"}, (400, "invalid_value", "busy_policy")),
    ],
    ids=["unknown", "empty", "no id", "no name", "not stored", "chain", "history", "number", "policy"],
)
async def test_a_conversation_that_cannot_be_is_refused_by_name(
    openai_http: OpenAIHttp, fields: Json, expected: tuple[int, str | None, str | None]
) -> None:
    assert await openai_http.refused(input="hi", **fields) == expected


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("", {"items": [message("user", "x")] * 21}, (400, "invalid_value", "items")),
        ("", {"items": [{"type": "message", "content": "x"}]}, (400, "missing_required_parameter", "items[0].role")),
        ("", {"items": [{"id": "msg_unknown"}]}, (404, "not_found", "items[0].id")),
        ("", {"metadata": {"k": "v" * 513}}, (400, None, "metadata.k")),
        ("", [], (400, None, None)),
        (f"/{UNKNOWN}", {"metadata": {}}, (404, "conversation_not_found", None)),
        (f"/{UNKNOWN}/items", {"items": [message("user", "x")]}, (404, "conversation_not_found", None)),
        (f"/{UNKNOWN}/items", {"items": []}, (400, "invalid_value", "items")),
        (f"/{UNKNOWN}/items", {}, (400, "missing_required_parameter", "items")),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    openai_http: OpenAIHttp, path: str, body: Any, expected: tuple[int, str | None, str | None]
) -> None:
    assert await openai_http.error("POST", f"/v1/conversations{path}", json=body) == expected
