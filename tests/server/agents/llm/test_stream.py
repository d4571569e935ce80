"""The fold of a model call's stream."""

import json
from contextlib import suppress
from typing import Any

import pytest
from breezeway.v1 import item_pb2
from breezeway_server.agents.llm.errors import UpstreamError
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    ReasoningDelta,
    RefusalDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallStarted,
)
from hypothesis import given
from hypothesis import strategies as st

SERVER = item_pb2.EXECUTOR_SERVER
LENGTH = item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS


def _stream(taken: set[str] | None = None) -> ModelStream:
    return ModelStream("m", executor_of=lambda _: SERVER, taken=taken or set(), redact=Redactor(["hidden-key"]))


def _feed(stream: ModelStream, *data: bytes) -> list[Step]:
    steps: list[Step] = []
    stream.feed(data, steps)
    return steps


def _delta(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def _piece(name: str | None = None, arguments: str | None = None, **keys: Any) -> dict[str, Any]:
    return _delta(tool_calls=[{**keys, "function": {"name": name, "arguments": arguments}}])


def _fold(*chunks: dict[str, Any], stream: ModelStream | None = None, done: bool = True) -> list[Step]:
    stream = stream or _stream()
    steps = _feed(stream, *(json.dumps(chunk).encode() for chunk in chunks), *([b"[DONE]"] if done else []))
    return steps + stream.finish()


def test_text_refusal_and_both_spellings_of_reasoning_become_deltas() -> None:
    steps = _fold(
        _delta(role="assistant", content=""),
        _delta(reasoning_content="hm"),
        _delta(reasoning="oh"),
        _delta(content="yes"),
        _delta(refusal="no"),
        _delta(finish="stop"),
    )
    assert steps == [ReasoningDelta("hm"), ReasoningDelta("oh"), TextDelta("yes"), RefusalDelta("no")]


def test_interleaved_arguments_of_parallel_calls_keep_apart() -> None:
    steps = _fold(
        _piece("a", "", index=0, id="1"),
        _piece("b", '{"', index=1, id="2"),
        _piece(None, '{"x"', index=0),
        _piece(None, 'y":2}', index=1),
        _piece(None, ":1}", index=0),
        _delta(finish="tool_calls"),
    )
    assert steps == [
        ToolCallStarted("1", "a", SERVER),
        ToolCallStarted("2", "b", SERVER),
        ToolArgumentsDelta("2", '{"'),
        ToolArgumentsDelta("1", '{"x"'),
        ToolArgumentsDelta("2", 'y":2}'),
        ToolArgumentsDelta("1", ":1}"),
        ToolCallCompleted("1"),
        ToolCallCompleted("2"),
    ]


def test_missing_ids_are_made_and_taken_ones_replaced() -> None:
    steps = _fold(
        _piece("a", "{}", index=0),
        _piece("b", "{}", index=1, id="old"),
        _delta(finish="tool_calls"),
        stream=_stream(taken={"old"}),
    )
    ids = [step.call_id for step in steps if isinstance(step, ToolCallStarted)]
    assert len(set(ids)) == 2
    assert all(call_id.startswith("call_") for call_id in ids)


@pytest.mark.parametrize("index", [{"index": 0}, {}])
def test_calls_that_share_a_number_or_have_none_are_told_apart_by_id(index: dict[str, int]) -> None:
    steps = _fold(
        _piece("a", "{", id="1", **index),
        _piece(None, "}", **index),
        _piece("b", "[]", id="2", **index),
        _delta(finish="tool_calls"),
    )
    assert [step for step in steps if isinstance(step, ToolArgumentsDelta)] == [
        ToolArgumentsDelta("1", "{"),
        ToolArgumentsDelta("1", "}"),
        ToolArgumentsDelta("2", "[]"),
    ]
    assert {step.call_id for step in steps if isinstance(step, ToolCallCompleted)} == {"1", "2"}


def test_a_call_without_a_name_is_malformed() -> None:
    with pytest.raises(UpstreamError, match="UPSTREAM_MALFORMED"):
        _fold(_piece(None, "{}", index=0), _delta(finish="tool_calls"))


def test_a_length_limit_leaves_open_calls_open_so_that_nobody_runs_them() -> None:
    steps = _fold(_piece("a", '{"x', index=0, id="1"), _delta(finish="length"))
    assert steps[-1] == ChoiceIncomplete(LENGTH)
    assert not [step for step in steps if isinstance(step, ToolCallCompleted)]


def test_a_content_filter_ends_the_choice_early() -> None:
    assert _fold(_delta(finish="content_filter")) == [ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_CONTENT_FILTER)]


def test_several_choices_end_each_for_itself() -> None:
    steps = _fold(_delta(0, content="a"), _delta(1, content="b"), _delta(1, "length"), _delta(0, "stop"), done=False)
    assert steps == [TextDelta("a", 0), TextDelta("b", 1), ChoiceIncomplete(LENGTH, 1)]


def test_logprobs_are_carried_as_they_came() -> None:
    chunk = b'{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a", "logprob":-0.10}]}}]}'
    assert _feed(_stream(), chunk) == [TextDelta("a", 0, ('{"token":"a", "logprob":-0.10}',))]


def test_the_last_usage_counts() -> None:
    stream = _stream()
    details = {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3}}
    _fold(
        {"usage": {"prompt_tokens": 1}, **_delta(content="a")},
        _delta(finish="stop"),
        {"choices": [], "model": "m-2", "usage": {"prompt_tokens": 7, "completion_tokens": 5, **details}},
        stream=stream,
    )
    step = stream.usage_step()
    assert isinstance(step, ModelCallCompleted)
    assert step.model == "m-2"
    assert (step.usage.input_tokens, step.usage.cached_input_tokens) == (7, 2)
    assert (step.usage.output_tokens, step.usage.reasoning_output_tokens, step.usage.model_calls) == (5, 3, 1)


@pytest.mark.parametrize(
    ("names", "last"), [([], True), (["add"], False), (["callers"], True), (["add", "callers"], True)]
)
def test_a_call_is_the_last_where_nothing_is_left_for_the_agent_to_answer(names: list[str], last: bool) -> None:
    stream = ModelStream(
        "m",
        executor_of=lambda name: item_pb2.EXECUTOR_CLIENT if name == "callers" else item_pb2.EXECUTOR_SERVER,
        taken=set(),
        redact=Redactor([]),
    )
    pieces = [_piece(name, "{}", index=index, id=name) for index, name in enumerate(names)]
    used = {"choices": [], "usage": {"prompt_tokens": 7}}
    _fold(*pieces, _delta(finish="tool_calls" if names else "stop"), used, stream=stream)
    step = stream.usage_step()
    assert step is not None
    assert step.last == last


def test_a_call_that_was_cut_is_not_the_last() -> None:
    stream = _stream()
    with pytest.raises(UpstreamError):
        _fold({"usage": {"prompt_tokens": 1}, **_delta(content="half")}, stream=stream, done=False)
    step = stream.usage_step()
    assert step is not None
    assert not step.last


def test_chunks_behind_the_end_of_a_choice_are_no_answer() -> None:
    assert _fold(_delta(content="a"), _delta(finish="stop"), _delta(content_filter={}), done=False) == [TextDelta("a")]


@pytest.mark.parametrize("chunks", [[], [_delta(content="half")], [_delta(0, "stop"), _delta(1, content="half")]])
def test_an_end_without_a_finish_is_a_cut(chunks: list[dict[str, Any]]) -> None:
    with pytest.raises(UpstreamError, match="UPSTREAM_CUT"):
        _fold(*chunks, done=False)


def test_done_alone_is_no_answer() -> None:
    with pytest.raises(UpstreamError, match="UPSTREAM_MALFORMED"):
        _fold()


@pytest.mark.parametrize("data", [b"nonsense", b"[1]", b'{"choices": 1}', b'{"choices":[{"delta":{"content":1}}]}'])
def test_what_is_no_chunk_is_malformed(data: bytes) -> None:
    with pytest.raises(UpstreamError, match="UPSTREAM_MALFORMED"):
        _feed(_stream(), data)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"message": "boom"}, "UPSTREAM_ERROR"),
        ("boom", "UPSTREAM_ERROR"),
        ({"message": "slow down", "code": 429}, "UPSTREAM_RATE_LIMITED"),
        ({"message": "slow down", "type": "rate_limit_error"}, "UPSTREAM_RATE_LIMITED"),
        ({"message": "bad", "type": "invalid_request_error", "param": "top_p"}, "UPSTREAM_REJECTED"),
        ({"message": "key", "code": "401"}, "UPSTREAM_AUTH"),
    ],
)
def test_an_error_inside_the_stream_is_the_runs(error: Any, reason: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        _feed(_stream(), json.dumps({"error": error}).encode())
    assert caught.value.error.reason == reason


def test_an_error_of_null_is_none() -> None:
    assert _fold({**_delta(content="a"), "error": None}) == [TextDelta("a")]


def test_the_finish_reason_error_is_no_answer() -> None:
    with pytest.raises(UpstreamError, match="UPSTREAM_ERROR"):
        _fold(_delta(content="a"), _delta(finish="error"))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_fold(data: bytes) -> None:
    with suppress(UpstreamError):
        _feed(_stream(), data)
