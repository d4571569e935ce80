"""Laws of Chat Completions: the stream and the whole answer say the same, however the text was cut."""

from typing import Any

import msgspec
import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway_shim.dialects.chat_completions.completion import completion_of
from breezeway_shim.dialects.chat_completions.projection import ChatProjection
from breezeway_shim.errors import ApiError, error_of_end
from breezeway_shim.fold import RunFold
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.support.dialects import frames
from tests.support.generated_logs import cut_coarsely, cut_finely, run_logs

Log = list[event_pb2.RunEvent]
ENDED_WELL = {"run_completed", "run_incomplete"}
DELTAS = {"text_delta", "refusal_delta", "reasoning_delta", "tool_arguments_delta", "tool_progress"}


def chunks_of(log: Log) -> tuple[list[dict[str, Any]], bool]:
    """The data of a stream's frames, and whether it ended with [DONE]."""
    payloads = [frame.removeprefix(b"data: ").strip() for frame in frames(ChatProjection(include_usage=True), log)]
    return [msgspec.json.decode(payload) for payload in payloads if payload != b"[DONE]"], b"[DONE]" in payloads


def folded(log: Log) -> run_pb2.Run:
    """The run as a reader of its events has it."""
    fold = RunFold()
    for event in log:
        fold.add(event)
    return fold.run


def collected(log: Log) -> dict[str, Any]:
    """The whole answer."""
    body: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(completion_of(folded(log))))
    return body


def numbered(log: Log, *, after: int = 0, include_usage: bool = True, tool_progress: bool = True) -> dict[int, bytes]:
    """A stream's frames by their ids."""
    projection = ChatProjection(numbered=True, after=after, include_usage=include_usage, tool_progress=tool_progress)
    by_id = {}
    for frame in frames(projection, log):
        line, _, rest = frame.partition(b"\n")
        by_id[int(line.removeprefix(b"id: "))] = rest
    return by_id


def accumulated(chunks: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """By choice, what a client makes of the chunks."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.get("choices", ()):
            so_far = choices.setdefault(
                choice["index"], {"content": None, "refusal": None, "reasoning": "", "calls": {}}
            )
            delta = choice["delta"]
            for key in ("content", "refusal"):
                if delta.get(key) is not None:
                    so_far[key] = (so_far[key] or "") + delta[key]
            so_far["reasoning"] += delta.get("reasoning_content", "")
            so_far["finish_reason"] = choice["finish_reason"]
            for call in delta.get("tool_calls", ()):
                known = so_far["calls"].setdefault(call["index"], {"arguments": ""})
                known.update({key: call[key] for key in ("id", "type") if key in call})
                known["arguments"] += call["function"]["arguments"]
                known["name"] = call["function"].get("name", known.get("name"))
    return choices


@given(log=run_logs())
def test_the_stream_adds_up_to_the_whole_answer(log: Log) -> None:
    chunks, done = chunks_of(log)
    if not done:
        return
    streamed = accumulated(chunks)
    whole = collected(log)
    assert whole["id"] == chunks[0]["id"]
    assert (whole["created"], whole["model"]) == (chunks[0]["created"], chunks[0]["model"])
    assert whole["usage"] == chunks[-1]["usage"]
    assert [choice["index"] for choice in whole["choices"]] == sorted(streamed)
    for choice in whole["choices"]:
        message, so_far = choice["message"], streamed[choice["index"]]
        assert message["content"] == so_far["content"]
        assert message["refusal"] == so_far["refusal"]
        assert message.get("reasoning_content", "") == so_far["reasoning"]
        assert choice["finish_reason"] == so_far["finish_reason"]
        calls = [{"id": call["id"], "type": call["type"], **call["function"]} for call in message.get("tool_calls", ())]
        assert calls == [so_far["calls"][index] for index in sorted(so_far["calls"])]


@given(log=run_logs())
def test_the_answer_the_stored_completion_and_the_error_are_those_of_the_log(log: Log) -> None:
    # A caller who only collects gets no deltas, and the store keeps none: neither may make a difference.
    run = folded([event for event in log if event.WhichOneof("kind") not in DELTAS])
    assert run == folded(log)
    failure = error_of_end(log[-1])
    if failure is None:
        assert msgspec.json.decode(msgspec.json.encode(completion_of(run))) == collected(log)
        return
    with pytest.raises(ApiError) as caught:
        completion_of(run)
    assert (caught.value.status, caught.value.body()) == (failure.status, failure.body())


@given(log=run_logs(), data=st.data())
def test_a_stream_that_goes_on_behind_a_number_has_exactly_the_rest(log: Log, data: st.DataObject) -> None:
    whole = numbered(log)
    assert list(whole) == list(range(1, len(whole) + 1))
    after = data.draw(st.integers(0, len(whole)))
    assert numbered(log, after=after) == {number: frame for number, frame in whole.items() if number > after}


@given(log=run_logs(), include_usage=st.booleans(), tool_progress=st.booleans())
def test_a_number_means_the_same_frame_to_every_reader(log: Log, include_usage: bool, tool_progress: bool) -> None:
    whole = numbered(log, include_usage=include_usage)
    fewer = numbered(log, include_usage=include_usage, tool_progress=tool_progress)
    assert fewer.items() <= whole.items()
    assert {frame for number, frame in whole.items() if number not in fewer} == {
        frame for frame in whole.values() if frame.startswith(b"event: tool_progress") and not tool_progress
    }
    with_usage = numbered(log)
    # The terminal frame keeps its number, whether or not the usage comes before it.
    assert max(with_usage) == max(whole)
    assert with_usage[max(with_usage)] == whole[max(whole)]


@given(log=run_logs())
def test_cutting_text_otherwise_changes_nothing(log: Log) -> None:
    as_it_is = accumulated(chunks_of(log)[0])
    assert accumulated(chunks_of(cut_finely(log))[0]) == as_it_is
    assert accumulated(chunks_of(cut_coarsely(log))[0]) == as_it_is


@given(log=run_logs())
def test_a_stream_has_one_role_and_one_finish_a_choice_and_ends_once(log: Log) -> None:
    chunks, done = chunks_of(log)
    failed = [chunk for chunk in chunks if "error" in chunk]
    assert len(failed) == (0 if done else 1)
    assert not failed or chunks[-1] is failed[0]
    if log[-1].WhichOneof("kind") not in ENDED_WELL:
        assert failed
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    for index in {choice["index"] for choice in choices}:
        mine = [choice for choice in choices if choice["index"] == index]
        assert ["role" in choice["delta"] for choice in mine] == [True] + [False] * (len(mine) - 1)
        finishes = [choice["finish_reason"] for choice in mine]
        assert finishes[:-1] == [None] * (len(finishes) - 1)
        assert (finishes[-1] is not None) == done
        assert not done or mine[-1]["delta"] == {}
    if done:
        assert chunks[-1]["choices"] == []
        assert all(chunk["usage"] is None and chunk["choices"] for chunk in chunks[:-1])


@given(log=run_logs())
def test_the_official_types_take_every_chunk_and_every_answer(log: Log) -> None:
    chunks, done = chunks_of(log)
    for chunk in chunks:
        if "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk, strict=True)
    if done:
        ChatCompletion.model_validate(collected(log), strict=True)
