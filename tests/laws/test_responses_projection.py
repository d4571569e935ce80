"""Laws of the Responses stream beyond those of every dialect, for logs that Hypothesis makes up."""

from itertools import groupby
from typing import Any

import msgspec
import pytest
from breezeway.v1 import event_pb2
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.projection import ResponseProjection
from breezeway_shim.fold import RunFold
from hypothesis import given

from tests.support.dialects import frames
from tests.support.generated_logs import cut_coarsely, cut_finely, run_logs
from tests.support.logs import log_names, read_log
from tests.support.openai_schemas import check_events, check_schema, sse_events

Log = list[event_pb2.RunEvent]
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
DELTAS = {"text_delta", "refusal_delta", "reasoning_delta", "tool_arguments_delta", "tool_progress"}
# For each kind of text: the event that ends it, and the name it has there and in the part or item.
WHOLE = {
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.refusal.delta": ("response.refusal.done", "refusal"),
    "response.reasoning_text.delta": ("response.reasoning_text.done", "text"),
    "response.reasoning_summary_text.delta": ("response.reasoning_summary_text.done", "text"),
    "response.function_call_arguments.delta": ("response.function_call_arguments.done", "arguments"),
}


def stream(log: Log) -> list[dict[str, Any]]:
    return sse_events(b"".join(frames(ResponseProjection(), log)))


def folded(log: Log) -> Any:
    fold = RunFold()
    for event in log:
        fold.add(event)
    return msgspec.json.decode(msgspec.json.encode(response_json(fold.run)))


@given(log=run_logs())
def test_numbers_count_from_zero_without_gaps(log: Log) -> None:
    assert [event["sequence_number"] for event in stream(log)] == list(range(len(stream(log))))


@given(log=run_logs())
def test_a_stream_begins_with_created_and_ends_with_one_terminal_event(log: Log) -> None:
    types = [event["type"] for event in stream(log)]
    assert types[0] == "response.created"
    assert [kind for kind in types if kind in TERMINAL] == types[-1:]
    assert types.count("response.in_progress") <= 1


@given(log=run_logs())
def test_an_item_is_closed_before_the_next_opens(log: Log) -> None:
    of_items = [event for event in stream(log) if "output_index" in event]
    spans = [(index, list(span)) for index, span in groupby(of_items, key=lambda event: event["output_index"])]
    assert [index for index, _ in spans] == list(range(len(spans)))
    for _, span in spans:
        assert span[0]["type"] == "response.output_item.added"
        assert span[-1]["type"] == "response.output_item.done"
        assert span[0]["item"]["id"] == span[-1]["item"]["id"]
        assert {event["item_id"] for event in span[1:-1]} <= {span[0]["item"]["id"]}
        assert [event["type"] for event in span].count("response.output_item.added") == 1


@given(log=run_logs())
def test_deltas_add_up_to_the_text_that_ends_them_and_to_that_of_the_item(log: Log) -> None:
    texts: dict[tuple[object, ...], str] = {}
    wholes: dict[tuple[object, ...], str] = {}
    ends = dict(WHOLE.values())
    for event in stream(log):
        place = (event.get("item_id"), event.get("content_index"), event.get("summary_index"))
        if event["type"] in WHOLE:
            texts[place] = texts.get(place, "") + event["delta"]
        elif event["type"] in ends:
            wholes[place] = event[ends[event["type"]]]
            assert texts.get(place, "") == wholes[place]
        elif event["type"] == "response.output_item.done":
            assert _texts(event["item"]) == [text for (item, *_), text in wholes.items() if item == event["item"]["id"]]


def _texts(item: dict[str, Any]) -> list[str]:
    match item["type"]:
        case "message":
            return [part.get("text", part.get("refusal")) for part in item["content"]]
        case "reasoning":
            return [part["text"] for part in (*item["summary"], *item.get("content", ()))]
        case "function_call":
            return [item["arguments"]]
        case _:
            return []


@given(log=run_logs())
def test_the_items_that_were_shown_are_the_output(log: Log) -> None:
    *events, last = stream(log)
    shown = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert last["response"]["output"] == shown


@given(log=run_logs())
def test_the_stream_the_collected_answer_and_the_stored_object_are_one(log: Log) -> None:
    only_items = [event for event in log if event.WhichOneof("kind") not in DELTAS]
    assert stream(log)[-1]["response"] == folded(log) == folded(only_items)


@given(log=run_logs())
def test_cutting_text_otherwise_changes_nothing_but_the_deltas(log: Log) -> None:
    def without_deltas(cut: Log) -> list[dict[str, Any]]:
        events = [event for event in stream(cut) if event["type"] not in WHOLE]
        # Numbers count the deltas; times move with the events that tests renumber, and are not the text's matter.
        return [{key: value for key, value in event.items() if key != "sequence_number"} for event in events]

    assert without_deltas(cut_finely(log)) == without_deltas(log) == without_deltas(cut_coarsely(log))


@given(log=run_logs())
def test_the_official_sdk_takes_every_stream(log: Log) -> None:
    check_events(stream(log))


@pytest.mark.parametrize("log", log_names())
def test_the_stream_of_a_kept_log_keeps_to_the_published_schema(log: str) -> None:
    for event in stream(read_log(log)):
        check_schema("ResponseStreamEvent", event)
