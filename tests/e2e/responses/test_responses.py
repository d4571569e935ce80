"""Responses: what a stream, a whole answer and a later GET say, and what of a request reaches the model."""

import re
from typing import Any

import pytest

from tests.e2e.responses.cases import CASES, Case
from tests.e2e.responses.openai_http import Json, OpenAIHttp, function, message
from tests.support.model_server import ModelServer, answer

PICTURE = "data:image/png;base64,iVBORw0KGgo="
# Two with items that are open at once, and one of each other form.
_GONE_ON_FROM = ("text", "the agent's call and the caller's", "parallel calls", "a thought", "the token limit")
each_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def _said(item: Json) -> Any:
    match item["type"]:
        case "message":
            (part,) = item["content"]
            return part["text"] if part["type"] == "output_text" else {"refusal": part["refusal"]}
        case "function_call":
            return item["call_id"], item["arguments"]
        case "function_call_output":
            return item["call_id"], item["output"]
        case _:
            return [part["text"] for part in item["content"]]


def _apart_from_its_run(response: Json) -> Json:
    """The response without what differs between two runs: ids and times."""
    key = response["id"].removeprefix("resp_")
    text = re.sub(key, "KEY", repr({**response, "created_at": 0, "completed_at": 0}))
    assert key not in text
    return {"text": text}


@each_case
async def test_the_stream_the_answer_and_the_stored_response_agree(
    openai_http: OpenAIHttp, model: ModelServer, case: Case
) -> None:
    model.enqueue(*case.replies)
    *events, last = await openai_http.stream(**case.body)
    streamed = last["response"]
    assert last["type"] == f"response.{case.status}"
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert case.events <= {event["type"] for event in events}
    assert streamed["output"] == [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [_said(item) for item in streamed["output"]] == list(case.output)
    assert streamed["status"] == case.status
    assert (streamed["incomplete_details"] or {}).get("reason") == case.incomplete
    assert len(model.requests) == len(case.replies), "the model is asked as often as it has to be"

    assert await openai_http.get(streamed["id"]) == streamed
    assert await openai_http.replay(streamed["id"]) == [*events, last]

    model.enqueue(*case.replies)
    whole = await openai_http.create(**case.body)
    assert _apart_from_its_run(whole) == _apart_from_its_run(streamed)
    assert await openai_http.get(whole["id"]) == whole
    asked = [request.body for request in model.requests]
    half = len(case.replies)
    assert asked[:half] == asked[half:], "whether the caller streams is nothing to the model"


@pytest.mark.parametrize("case", [CASES[name] for name in _GONE_ON_FROM], ids=_GONE_ON_FROM)
async def test_a_stream_goes_on_from_every_event(openai_http: OpenAIHttp, model: ModelServer, case: Case) -> None:
    model.enqueue(*case.replies)
    events = await openai_http.stream(**case.body)
    response_id = events[0]["response"]["id"]
    for number in range(len(events)):
        assert await openai_http.replay(response_id, after=number) == events[number + 1 :]


async def test_every_parameter_is_echoed_from_the_first_event_on(openai_http: OpenAIHttp, model: ModelServer) -> None:
    asked: Json = {
        "instructions": "Be brief.",
        "temperature": 0.25,
        "top_p": 0.5,
        "presence_penalty": -1.0,
        "frequency_penalty": 1.5,
        "max_output_tokens": 50,
        "max_tool_calls": 3,
        "metadata": {"a": "b", "ü": ""},
        "tools": [function("weather"), {**function("time"), "strict": True}],
        "tool_choice": {"type": "function", "name": "time"},
        "parallel_tool_calls": False,
        "truncation": "auto",
        "text": {
            "format": {"type": "json_schema", "name": "n", "description": "d", "schema": {}, "strict": True},
            "verbosity": "low",
        },
        "top_logprobs": 2,
        "reasoning": {"effort": "high", "summary": "auto"},
        "background": False,
        "store": True,
        "user": "ada",
        "safety_identifier": "safe",
        "prompt_cache_key": "key",
        "service_tier": "flex",
    }
    model.enqueue(answer("so"), answer("so"))
    events = await openai_http.stream(input="hi", **asked)
    whole = await openai_http.create(input="hi", **asked)
    for response in (*(event["response"] for event in (events[0], events[1], events[-1])), whole):
        assert {name: response[name] for name in asked} == asked
    assert (events[0]["response"]["output"], events[0]["response"]["usage"]) == ([], None)
    sent = model.requests[0].body
    flat = {"type": "function", "function": {key: value for key, value in function("weather").items() if key != "type"}}
    assert sent["tools"][0] == flat
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "time"}}
    assert [(each["role"], each["content"]) for each in sent["messages"]] == [("system", "Be brief."), ("user", "hi")]
    assert {
        "temperature": 0.25,
        "top_p": 0.5,
        "presence_penalty": -1.0,
        "frequency_penalty": 1.5,
        "max_completion_tokens": 50,
        "parallel_tool_calls": False,
        "verbosity": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "high",
        "user": "ada",
        "safety_identifier": "safe",
        "prompt_cache_key": "key",
        "service_tier": "flex",
    }.items() <= sent.items()
    assert sent["response_format"]["json_schema"] == {"name": "n", "description": "d", "schema": {}, "strict": True}


async def test_what_is_not_asked_for_is_echoed_as_openai_does(openai_http: OpenAIHttp, model: ModelServer) -> None:
    created, *_ = await openai_http.stream(input="hi")
    response = created["response"]
    expected: Json = {
        "object": "response",
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "parallel_tool_calls": True,
        "tools": [],
        "tool_choice": "auto",
        "temperature": 1.0,
        "top_p": 1.0,
        "metadata": {},
        "text": {"format": {"type": "text"}},
        "truncation": "disabled",
        "store": True,
        "background": False,
        "completed_at": None,
        "previous_response_id": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "service_tier": "default",
        "reasoning": {"effort": None, "summary": None},
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
    }
    assert {name: response[name] for name in expected} == expected
    assert "conversation" not in response
    assert "temperature" not in model.requests[0].body, "what the caller leaves open is the model's to choose"


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "name": "time"},
        {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "time"}],
        },
    ],
    ids=lambda choice: choice if isinstance(choice, str) else choice["type"],
)
async def test_every_form_of_tool_choice_reaches_the_model_and_is_echoed(
    openai_http: OpenAIHttp, model: ModelServer, choice: Any
) -> None:
    whole = await openai_http.create(input="hi", tools=[function("weather"), function("time")], tool_choice=choice)
    assert whole["tool_choice"] == choice
    sent = model.requests[0].body["tool_choice"]
    if isinstance(choice, str):
        assert sent == choice
    else:
        assert sent["type"] == choice["type"]
        assert "time" in str(sent)
        assert "weather" not in str(sent)


async def test_every_form_of_input_reaches_the_model(openai_http: OpenAIHttp, model: ModelServer) -> None:
    items: list[Json] = [
        {"role": "system", "content": "one"},
        message("developer", "two"),
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
        {**message("assistant", "five"), "id": "msg_1", "status": "completed"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "six"},
                {"type": "input_image", "image_url": PICTURE, "detail": "low"},
                {"type": "input_image", "image_url": "https://example.com/a.png"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": "sealed"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"a":  1}'},
        {
            "type": "function_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "se"}, {"type": "input_text", "text": "en"}],
        },
    ]
    response = await openai_http.create(input=items)
    sent = model.requests[0].messages
    assert [each["role"] for each in sent] == [
        "system",
        "developer",
        "user",
        "assistant",
        "assistant",
        "user",
        "assistant",
        "tool",
    ]
    assert [each["content"] for each in sent[:5]] == ["one", "two", "three", "four", "five"]
    assert sent[5]["content"] == [
        {"type": "text", "text": "six"},
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    assert sent[6]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a":  1}'}}
    ]
    assert (sent[7]["tool_call_id"], "".join(part["text"] for part in sent[7]["content"])) == ("call_1", "seen")
    listed = await openai_http.input_items(response["id"], order="asc")
    assert [item["type"] for item in listed["data"]] == [item.get("type", "message") for item in items]
    assert listed["data"][5]["content"][2]["detail"] == "auto"
    assert listed["data"][6]["encrypted_content"] == "sealed"


async def test_unknown_fields_and_nulls_are_tolerated(openai_http: OpenAIHttp, model: ModelServer) -> None:
    nulls = dict.fromkeys(
        ("instructions", "tools", "text", "metadata", "store", "reasoning", "previous_response_id", "stream", "prompt")
    )
    await openai_http.create(input="hi", **nulls, top_k=40)
    assert model.requests[0].body["top_k"] == 40


async def test_string_booleans_are_understood(openai_http: OpenAIHttp, model: ModelServer) -> None:
    await openai_http.create(input="hi", stream="false")


async def test_input_tokens_are_counted_and_nothing_is_generated(openai_http: OpenAIHttp, model: ModelServer) -> None:
    path = "/v1/responses/input_tokens"
    short = await openai_http.json("POST", path, json={"model": "assistant", "input": "hi"})
    first = await openai_http.create(input="hi " * 400)
    asked = len(model.requests)
    body = {"model": "assistant", "input": "hi", "previous_response_id": first["id"]}
    long = await openai_http.json("POST", path, json=body)
    assert short["object"] == "response.input_tokens"
    assert 0 < short["input_tokens"] < 50
    assert long["input_tokens"] > 200, "history is read too"
    assert len(model.requests) == asked
