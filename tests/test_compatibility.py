"""docs/compatibility.md is true: it has a row for every parameter that the official SDK knows, and each row holds."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.llm.request import base_body
from breezeway_shim.dialects.chat_completions import request as chat_completions
from breezeway_shim.dialects.responses import request as responses
from breezeway_shim.errors import RequestError
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

DOCUMENT = Path(__file__).parents[1] / "docs" / "compatibility.md"
_ROW = re.compile(r"\| `(?P<name>[^`]+)` \| (?P<fate>\w+(?: on)?) \| (?:`(?P<word>\w+)`)? ?\|")

Json = dict[str, Any]


class Row(NamedTuple):
    """`word` is the model's name of what is passed on, or the code of a refusal."""

    api: str
    name: str
    fate: str
    word: str | None


def rows() -> list[Row]:
    found = []
    api = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            api = line.removeprefix("## ")
        elif match := _ROW.match(line):
            found.append(Row(api, match["name"], match["fate"], match["word"]))
        else:
            assert not line.startswith("| `"), f"a row that cannot be read: {line}"
    return found


ROWS = rows()
KNOWN = {
    "Chat Completions": completion_create_params.CompletionCreateParams,
    "Responses": response_create_params.ResponseCreateParams,
}
LEAST: dict[str, Json] = {
    "Chat Completions": {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]},
    "Responses": {"model": "assistant", "input": "hi"},
}
_SCHEMA = {"name": "point", "schema": {"type": "object"}, "strict": True}
_FUNCTION = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True}
_ITEMS = [{"role": "user", "content": "before"}]
# What a parameter is tried with, and what it needs beside it.
SHARED: Json = {
    "model": "another",
    "stream": True,
    "metadata": {"a": "b"},
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "top_logprobs": 3,
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "service_tier": "flex",
    "user": "ada",
    "safety_identifier": "ada",
    "prompt_cache_key": "key",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "moderation": {"model": "omni"},
    "stream_options.include_obfuscation": True,
    "busy_policy": "queue",
}
EXAMPLES: dict[str, Json] = {
    "Chat Completions": {
        **SHARED,
        "messages": [{"role": "developer", "content": "be brief"}],
        "store": True,
        "stream_options.include_usage": True,
        "n": 2,
        "max_tokens": 7,
        "max_completion_tokens": 7,
        "stop": ["END"],
        "seed": 7,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "tools": [{"type": "function", "function": _FUNCTION}],
        "response_format": {"type": "json_schema", "json_schema": _SCHEMA},
        "reasoning_effort": "low",
        "verbosity": "low",
        "prediction": {"type": "content", "content": "x"},
        "web_search_options": {},
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "mp3"},
        "functions": [{"name": "look"}],
        "function_call": "auto",
        "conversation_id": "talk",
    },
    "Responses": {
        **SHARED,
        "input": [{"role": "developer", "content": "be brief"}],
        "instructions": "be brief",
        "previous_response_id": "resp_019a3e5c7d0070008000000000000001",
        "conversation": "talk",
        "conversation_history": _ITEMS,
        "store": False,
        "background": True,
        "background_options.completion_window": "2h",
        "background_options.continuation_id": "nightly",
        "include": ["message.output_text.logprobs"],
        "truncation": "auto",
        "max_tool_calls": 1,
        "tools": [{"type": "function", **_FUNCTION}],
        "max_output_tokens": 7,
        "text.format": {"type": "json_schema", **_SCHEMA},
        "text.verbosity": "low",
        "reasoning.effort": "low",
        "reasoning.summary": "auto",
        "reasoning.generate_summary": "auto",
        "reasoning.context": "auto",
        "reasoning.mode": "pro",
        "access_programs": ["x"],
        "image": {"x": 1},
        "prompt": {"id": "p"},
        "context_management": [{"type": "compaction"}],
    },
}
# What the model gets, where that is not what the caller wrote.
SENT: Json = {
    "tools": [{"type": "function", "function": _FUNCTION}],
    "text.format": {"type": "json_schema", "json_schema": _SCHEMA},
}


class Parsed(NamedTuple):
    spec: run_pb2.RunSpec
    input: list[item_pb2.Item]
    wire: tuple[bool, ...]


def parsed(api: str, body: Json) -> Parsed:
    raw = json.dumps(body).encode()
    if api == "Responses":
        response = responses.parse(raw)
        return Parsed(response.spec, response.input, (response.stream,))
    chat = chat_completions.parse(raw)
    return Parsed(chat.run.spec, list(chat.run.input), (chat.stream, chat.include_usage))


def least_with(row: Row) -> Json:
    """The smallest request that names the parameter."""
    body = dict(LEAST[row.api])
    if row.name.startswith("stream_options"):
        body["stream"] = True
    outer, _, inner = row.name.partition(".")
    example = EXAMPLES[row.api][row.name]
    return {**body, outer: {inner: example} if inner else example}


def least_without(row: Row) -> Json:
    body = least_with(row)
    outer = row.name.partition(".")[0]
    return body | {outer: LEAST[row.api].get(outer)}


def fated(fate: str) -> pytest.MarkDecorator:
    found = [row for row in ROWS if row.fate == fate]
    assert found
    return pytest.mark.parametrize("row", found, ids=lambda row: f"{row.api}: {row.name}")


@pytest.mark.parametrize("api", list(KNOWN))
def test_every_parameter_of_the_official_sdk_has_a_row(api: str) -> None:
    known = {name for variant in get_args(KNOWN[api]) for name in get_type_hints(variant)}
    listed = {row.name.partition(".")[0] for row in ROWS if row.api == api}
    assert known <= listed
    ours = listed - known
    assert ours <= {"conversation_id", "conversation_history", "busy_policy", "presence_penalty", "frequency_penalty"}


@pytest.mark.parametrize("api", list(KNOWN))
def test_every_row_is_tried(api: str) -> None:
    names = [row.name for row in ROWS if row.api == api]
    assert sorted(names) == sorted(EXAMPLES[api])
    assert {row.fate for row in ROWS} == {"honoured", "passed on", "refused"}


@fated("honoured")
def test_what_is_honoured_changes_what_the_server_is_asked_for(row: Row) -> None:
    with_it = parsed(row.api, least_with(row))
    assert with_it != parsed(row.api, least_without(row))
    assert not with_it.spec.model_options


@fated("passed on")
def test_what_is_passed_on_reaches_the_model(row: Row) -> None:
    assert row.word is not None
    body = _sent(parsed(row.api, least_with(row)).spec)
    assert body[row.word] == SENT.get(row.name, EXAMPLES[row.api][row.name])
    assert row.word not in _sent(parsed(row.api, least_without(row)).spec)


@fated("refused")
def test_what_is_refused_is_named(row: Row) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(row.api, least_with(row))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, row.word, row.name)
    parsed(row.api, least_without(row))


def _sent(spec: run_pb2.RunSpec) -> Json:
    """What the built-in agent sends to its model, but for the messages."""
    body: Json = msgspec.json.decode(msgspec.json.encode(base_body(spec, {}, ())))
    return body
