"""Approvals over Responses: what a run waits for is an item of its output, and an item of a request decides it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from openai.types.responses.response_input_param import McpApprovalResponse
from openai.types.responses.response_output_item import McpApprovalRequest

from tests.e2e.responses.openai_http import Json, OpenAIHttp, text_of
from tests.support.model_server import ModelServer, answer, call, calls

ASKED = {"model": "asking", "input": "Is it sunny in Rome?"}


def deciding(request_id: str, *, approve: bool = True, **fields: Any) -> Json:
    return {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve, **fields}


def asks_for_weather(model: ModelServer, *cities: str, then: str = "Sunny.") -> None:
    cities = cities or ("Rome",)
    made = [call("weather", {"city": city}, call_id=f"c{at}", at=at) for at, city in enumerate(cities)]
    model.enqueue(calls(*made), answer(then))


async def until_asked(events: AsyncIterator[Json], times: int = 1) -> tuple[list[Json], list[str]]:
    """The events up to the last of the requests, and the ids of these."""
    seen: list[Json] = []
    asked: list[str] = []
    async for event in events:
        seen.append(event)
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "mcp_approval_request":
            asked.append(event["item"]["id"])
            if len(asked) == times:
                break
    return seen, asked


async def waiting(openai_http: OpenAIHttp, times: int = 1, **body: Any) -> tuple[Json, list[str]]:
    """A background response that waits, and the ids of its requests."""
    async with openai_http.streaming(**{**ASKED, **body}, background=True) as events:
        seen, asked = await until_asked(events, times)
    return seen[0]["response"], asked


def outputs(response: Json) -> list[str]:
    return [item["output"] for item in response["output"] if item["type"] == "function_call_output"]


async def test_a_response_that_waits_shows_what_for_and_goes_on_once_it_is_decided(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    asks_for_weather(model)
    async with openai_http.streaming(**ASKED) as events:
        seen, [request_id] = await until_asked(events)
        response_id = seen[0]["response"]["id"]
        there = await openai_http.get(response_id)
        assert there["status"] == "in_progress"
        assert there["output"][-1] == {
            "id": request_id,
            "type": "mcp_approval_request",
            "server_label": "breezeway",
            "name": "weather",
            "arguments": '{"city": "Rome"}',
        }
        # The model is asked for by its other name: it is the same.
        decided = await openai_http.create(
            model="polite", previous_response_id=response_id, input=[deciding(request_id)]
        )
        async for event in events:
            seen.append(event)
            if event["type"] == "response.completed":
                break
    assert decided["id"] == response_id
    assert (decided["status"], text_of(decided), outputs(decided)) == ("completed", "Sunny.", ["sunny in Rome"])
    assert seen[-1]["response"] == decided == await openai_http.get(response_id)
    assert len(model.requests) == 2


async def test_a_denial_reaches_the_model_with_its_reason(openai_http: OpenAIHttp, model: ModelServer) -> None:
    asks_for_weather(model, then="As you wish.")
    response, [request_id] = await waiting(openai_http)
    events = await openai_http.stream(
        model="asking", input=[deciding(request_id, approve=False, reason="It is a secret.")]
    )
    last = events[-1]["response"]
    assert (last["id"], text_of(last)) == (response["id"], "As you wish.")
    assert "It is a secret." in outputs(last)[0]
    assert "sunny" not in outputs(last)[0]
    assert events == await openai_http.replay(response["id"])


async def test_the_stream_goes_on_from_where_its_reader_was(openai_http: OpenAIHttp, model: ModelServer) -> None:
    asks_for_weather(model)
    async with openai_http.streaming(**ASKED) as events:
        seen, [request_id] = await until_asked(events)
    body = {"model": "asking", "input": [deciding(request_id)], "stream": True}
    last_id = {"Last-Event-ID": str(seen[-1]["sequence_number"])}
    async with openai_http.session.post("/v1/responses", json=body, headers=last_id) as response:
        assert response.status == 200
        rest = await response.read()
    response_id = seen[0]["response"]["id"]
    path = f"/v1/responses/{response_id}?stream=true&starting_after={last_id['Last-Event-ID']}"
    async with openai_http.session.get(path) as response:
        assert await response.read() == rest
    assert rest.count(b"event: response.completed\n") == 1
    assert b"response.created" not in rest


async def test_a_decision_in_the_background_does_not_wait(openai_http: OpenAIHttp, model: ModelServer) -> None:
    asks_for_weather(model, "Rome", "Oslo")
    response, asked = await waiting(openai_http, times=2)
    first = await openai_http.create(model="asking", background=True, input=[deciding(asked[0])])
    assert (first["id"], first["status"]) == (response["id"], "in_progress")
    whole = asyncio.create_task(openai_http.replay(response["id"]))
    second = await openai_http.create(model="asking", input=[deciding(asked[1])])
    assert sorted(outputs(second)) == ["sunny in Oslo", "sunny in Rome"]
    assert (await whole)[-1]["response"] == second


async def test_several_are_decided_at_once(openai_http: OpenAIHttp, model: ModelServer) -> None:
    asks_for_weather(model, "Rome", "Oslo")
    response, asked = await waiting(openai_http, times=2)
    output = (await openai_http.get(response["id"]))["output"]
    cities = {item["id"]: json.loads(item["arguments"])["city"] for item in output if item["id"] in asked}
    decisions = [deciding(request_id, approve=city == "Oslo") for request_id, city in cities.items()]
    done = await openai_http.create(model="asking", input=decisions)
    assert sorted(outputs(done)) == ["The call was denied.", "sunny in Oslo"]


async def test_it_may_be_decided_from_anywhere_else_and_once_only(openai_http: OpenAIHttp, model: ModelServer) -> None:
    async with openai_http.streaming(model="demo", input="approve a postcard to Ann") as events:
        seen, [request_id] = await until_asked(events)
        response_id = seen[0]["response"]["id"]
        path = f"/api/runs/{response_id}:resolveApproval"
        await openai_http.json("POST", path, json={"decision": "APPROVAL_DECISION_ONCE"})
        again = await openai_http.refused(model="demo", input=[deciding(request_id)])
        assert again == (409, "approval_already_resolved", None)
        async for event in events:
            if event["type"] == "response.completed":
                break
    again = await openai_http.refused(model="demo", input=[deciding(request_id)], stream=True)
    assert again == (409, "approval_already_resolved", None), "also after the end, and never inside a stream"


async def test_the_official_client_decides(client: AsyncOpenAI, model: ModelServer) -> None:
    asks_for_weather(model)
    stream = await client.responses.create(model="asking", input="Is it sunny in Rome?", stream=True)
    decided: list[Response] = []
    ended: list[Response] = []
    async for event in stream:
        if event.type == "response.output_item.done" and isinstance(event.item, McpApprovalRequest):
            approval: McpApprovalResponse = {
                "type": "mcp_approval_response",
                "approval_request_id": event.item.id,
                "approve": True,
            }
            decided.append(await client.responses.create(model="asking", input=[approval]))
        if event.type == "response.completed":
            ended.append(event.response)
    assert decided == ended
    assert [response.output_text for response in ended] == ["Sunny."]


UNKNOWN = "apr_019a3e5c7d0070008000000000000001000002"


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([deciding(UNKNOWN)], (404, "approval_not_found", "input[0].approval_request_id")),
        ([deciding("mcpr_1")], (404, "approval_not_found", "input[0].approval_request_id")),
        ([deciding("")], (404, "approval_not_found", "input[0].approval_request_id")),
        ([{"type": "mcp_approval_response"}], (400, "missing_required_parameter", "input[0].approve")),
        (
            [{"type": "mcp_approval_response", "approve": True}],
            (400, "missing_required_parameter", "input[0].approval_request_id"),
        ),
        ([deciding(UNKNOWN) | {"approve": "perhaps"}], (400, "invalid_type", "input[0].approve")),
        ([deciding(UNKNOWN), {"role": "user", "content": "and?"}], (400, "invalid_value", "input[1]")),
        ([deciding(UNKNOWN), deciding(UNKNOWN)], (400, "invalid_value", "input[1].approval_request_id")),
        (
            [deciding(UNKNOWN), deciding(UNKNOWN.replace("1000002", "2000002"))],
            (400, "invalid_value", "input[1].approval_request_id"),
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_cannot_be_decided_is_refused(
    openai_http: OpenAIHttp, items: list[Json], expected: tuple[int, str | None, str | None], stream: bool
) -> None:
    assert await openai_http.refused(input=items, stream=stream) == expected


async def test_a_decision_changes_nothing_else_of_the_run(openai_http: OpenAIHttp, model: ModelServer) -> None:
    asks_for_weather(model)
    said: Json = {"temperature": 0.5, "metadata": {"a": "b"}, "instructions": "Be brief."}
    response, [request_id] = await waiting(openai_http, **said)
    items = [deciding(request_id)]
    other = UNKNOWN.replace("apr_", "resp_")[:-6]
    for changed, param in (
        ({"model": "assistant"}, "model"),
        ({"previous_response_id": other}, "previous_response_id"),
        ({"temperature": 0.6}, "temperature"),
        ({"metadata": {"a": "c"}}, "metadata.a"),
        ({"instructions": "Be long."}, "instructions"),
        ({"store": False}, "store"),
        ({"truncation": "auto"}, "truncation"),
        ({"conversation": "elsewhere"}, "conversation"),
        ({"top_k": 3}, "top_k"),
        ({"tools": [{"type": "function", "name": "look"}]}, "tools"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
    ):
        status, code, named = await openai_http.refused(**{"model": "asking", **said, **changed}, input=items)
        assert (status, code, named) == (400, "invalid_value", param)
    status, code, named = await openai_http.refused(model="nobody", input=items)
    assert (status, code, named) == (404, "model_not_found", "model")
    history = [{"role": "user", "content": "before"}]
    refused = await openai_http.refused(model="asking", input=items, conversation_history=history)
    assert refused == (400, "mutually_exclusive_parameters", "conversation_history")
    beyond = {"Last-Event-ID": "1"}
    refused = await openai_http.error("POST", "/v1/responses", json={"model": "asking", "input": items}, headers=beyond)
    assert refused == (400, "invalid_value", "starting_after")
    leaving = {"X-On-Disconnect": "cancel"}
    refused = await openai_http.error(
        "POST", "/v1/responses", json={"model": "asking", "input": items}, headers=leaving
    )
    assert refused == (400, "invalid_value", None)
    # None of these has decided anything; repeating what was said is no change.
    done = await openai_http.create(
        model="asking", input=items, previous_response_id=response["id"], store=True, **said
    )
    assert done["status"] == "completed"
    assert {name: done[name] for name in said} == said


@pytest.mark.parametrize("agent", ["assistant", "demo"])
async def test_an_approval_request_passed_back_as_history_is_taken(
    openai_http: OpenAIHttp, model: ModelServer, agent: str
) -> None:
    asks_for_weather(model)
    _, [request_id] = await waiting(openai_http)
    done = await openai_http.create(model="asking", input=[deciding(request_id)])
    history = [
        {"role": "user", "content": "Is it sunny in Rome?"},
        *[item for item in done["output"] if item["type"] != "message"],
    ]
    kinds = [item["type"] for item in history[1:]]
    assert kinds == ["function_call", "mcp_approval_request", "function_call_output"]
    later = await openai_http.create(model=agent, input=[*history, {"role": "user", "content": "hi again"}])
    assert later["status"] == "completed"
    page = await openai_http.input_items(later["id"], order="asc")
    assert [item["type"] for item in page["data"]] == ["message", *kinds, "message"]
