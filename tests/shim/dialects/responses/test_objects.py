import json
from typing import Any

import msgspec
import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.request import parse
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.logs import RUN_ID
from tests.support.openai_schemas import check_response, check_schema

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
FORMAT = {
    "type": "json_schema",
    "name": "answer",
    "description": "An answer.",
    "schema": {"type": "object", "properties": {"big": {"const": 12345678901234567890}}},
    "strict": True,
}
ASKED = {
    "instructions": "Be brief.",
    "temperature": 0.5,
    "top_p": 0.25,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "max_output_tokens": 100,
    "max_tool_calls": 3,
    "metadata": {"team": "blue"},
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "get_weather"},
    "parallel_tool_calls": False,
    "truncation": "auto",
    "text": {"format": FORMAT, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "previous_response_id": "resp_019a3e5c7d0070008000000000000009",
    "background": True,
    "store": True,
    "top_logprobs": 2,
    "service_tier": "flex",
    "user": "ada",
    "safety_identifier": "hash-of-ada",
    "prompt_cache_key": "key",
}


def run_of(spec: run_pb2.RunSpec, **fields: Any) -> run_pb2.Run:
    times = {"create_time": Timestamp(seconds=1_793_000_000)} | fields
    return run_pb2.Run(id=RUN_ID, spec=spec, **times)


def listed(run: run_pb2.Run) -> dict[str, Any]:
    response: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(response_json(run)))
    check_response(response)
    check_schema("Response", response)
    return response


def test_every_parameter_is_echoed() -> None:
    spec = parse(json.dumps({"model": "assistant", "input": "hi"} | ASKED).encode()).spec
    response = listed(run_of(spec, state=run_pb2.RUN_STATE_QUEUED))
    assert {key: response[key] for key in ASKED} == ASKED
    assert response["status"] == "queued"
    assert response["model"] == "assistant"


def test_what_was_not_asked_for_has_openais_defaults() -> None:
    response = listed(run_of(run_pb2.RunSpec(agent="assistant"), state=run_pb2.RUN_STATE_IN_PROGRESS))
    assert response == {
        "id": "resp_019a3e5c7d0070008000000000000001",
        "object": "response",
        "created_at": 1_793_000_000,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "assistant",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {},
    }


def test_a_conversation_is_echoed_as_an_object() -> None:
    spec = run_pb2.RunSpec(agent="assistant", conversation_id="conv_1")
    assert listed(run_of(spec))["conversation"] == {"id": "conv_1"}


def test_usage_has_its_details_and_adds_up() -> None:
    usage = run_pb2.Usage(
        input_tokens=10, cached_input_tokens=4, cache_write_input_tokens=2, output_tokens=5, reasoning_output_tokens=3
    )
    ended = Timestamp(seconds=1_793_000_009)
    run = run_of(run_pb2.RunSpec(agent="a"), state=run_pb2.RUN_STATE_COMPLETED, usage=usage, end_time=ended)
    response = listed(run)
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }
    assert response["completed_at"] == 1_793_000_009


@pytest.mark.parametrize(
    ("reason", "details"),
    [
        (item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS, {"reason": "max_output_tokens"}),
        (item_pb2.INCOMPLETE_REASON_CONTENT_FILTER, {"reason": "content_filter"}),
        (item_pb2.INCOMPLETE_REASON_MAX_TOOL_CALLS, {"reason": "max_output_tokens", "limit": "max_tool_calls"}),
    ],
)
def test_an_early_end_has_one_of_openais_reasons(
    reason: item_pb2.IncompleteReason.ValueType, details: dict[str, str]
) -> None:
    run = run_of(run_pb2.RunSpec(agent="a"), state=run_pb2.RUN_STATE_INCOMPLETE, incomplete_reason=reason)
    assert listed(run)["incomplete_details"] == details


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("UPSTREAM_RATE_LIMITED", "rate_limit_exceeded"),
        ("UPSTREAM_REJECTED", "invalid_prompt"),
        ("NEW", "server_error"),
    ],
)
def test_an_error_has_one_of_openais_codes(reason: str, code: str) -> None:
    error = run_pb2.RunError(reason=reason, message="It broke.")
    run = run_of(run_pb2.RunSpec(agent="a"), state=run_pb2.RUN_STATE_FAILED, error=error)
    assert listed(run)["error"] == {"code": code, "message": "It broke."}


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "name": "get_weather"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_weather"}]},
    ],
    ids=["auto", "none", "required", "function", "allowed_tools"],
)
def test_a_tool_choice_comes_back_as_it_was_given(choice: object) -> None:
    body = {"model": "a", "input": "hi", "tools": [TOOL], "tool_choice": choice}
    assert listed(run_of(parse(json.dumps(body).encode()).spec))["tool_choice"] == choice
