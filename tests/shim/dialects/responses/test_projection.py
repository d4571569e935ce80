from typing import Any

from breezeway.v1 import item_pb2, run_pb2
from breezeway_shim.dialects.responses.projection import ResponseProjection

from tests.support.dialects import frames
from tests.support.logs import LogWriter, read_log
from tests.support.openai_schemas import check_events, sse_events

SPEC = run_pb2.RunSpec(agent="assistant")


def stream(log: LogWriter | str) -> list[dict[str, Any]]:
    events = read_log(log) if isinstance(log, str) else log.events
    shown = sse_events(b"".join(frames(ResponseProjection(), events)))
    check_events(shown)
    return shown


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_background_response_is_created_before_it_is_queued() -> None:
    log = LogWriter()
    log.queued(run_pb2.RunSpec(agent="assistant", background=True))
    log.started()
    log.completed(run_pb2.Usage())
    events = stream(log)
    assert types(events) == ["created", "queued", "in_progress", "completed"]
    assert [event["response"]["status"] for event in events] == ["in_progress", "queued", "in_progress", "completed"]


def test_calls_that_are_open_together_are_shown_one_after_the_other() -> None:
    log = LogWriter()
    log.queued(SPEC)
    log.started()
    first = log.call("add", item_pb2.EXECUTOR_CLIENT)
    second = log.call("clock", item_pb2.EXECUTOR_CLIENT)
    third = log.call("wait", item_pb2.EXECUTOR_CLIENT)
    log.arguments(second, "{}")
    log.arguments(first, "{")
    log.close(second)
    log.arguments(first, "}")
    log.close(first)
    log.arguments(third, "[]")
    log.completed(run_pb2.Usage())
    shown = [
        (event["output_index"], event["type"].removeprefix("response."), event.get("delta"))
        for event in stream(log)
        if "output_index" in event
    ]
    assert shown == [
        (0, "output_item.added", None),
        (0, "function_call_arguments.delta", "{"),
        (0, "function_call_arguments.delta", "}"),
        (0, "function_call_arguments.done", None),
        (0, "output_item.done", None),
        (1, "output_item.added", None),
        (1, "function_call_arguments.delta", "{}"),
        (1, "function_call_arguments.done", None),
        (1, "output_item.done", None),
        (2, "output_item.added", None),
        (2, "function_call_arguments.delta", "[]"),
        (2, "function_call_arguments.done", None),
        (2, "output_item.done", None),
    ]


def test_a_cancelled_response_ends_as_incomplete_with_its_own_status() -> None:
    last = stream("cancelled")[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "cancelled"
    assert last["response"]["incomplete_details"] is None
    assert last["response"]["usage"]["total_tokens"] > 0


def test_a_failure_is_told_with_its_error() -> None:
    last = stream("failed_in_the_middle")[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert last["response"]["error"]["message"]


def test_a_second_attempt_goes_on_in_items_of_its_own() -> None:
    events = stream("second_attempt")
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["status"] for item in done] == ["incomplete", "completed"]
    assert types(events).count("in_progress") == 1


def test_a_limit_of_tokens_shows_in_the_item_and_in_the_response() -> None:
    *_, item_done, last = stream("length")
    assert item_done["item"]["status"] == "incomplete"
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_annotations_come_before_the_text_is_done() -> None:
    log = LogWriter()
    log.queued(SPEC)
    log.started()
    message = log.message()
    log.text(message, "See here.")
    citation = '{"type":"url_citation","start_index":0,"end_index":3,"url":"https://example.org","title":"Here"}'
    log.open_items[0].message.content[0].text.annotations.append(citation)
    log.completed(run_pb2.Usage())
    events = stream(log)
    assert types(events)[4:8] == [
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
    ]
    assert events[5]["annotation"]["title"] == "Here"
    assert events[7]["part"]["annotations"] == [events[5]["annotation"]]


def test_log_probabilities_always_have_bytes() -> None:
    log = LogWriter()
    log.queued(SPEC)
    log.started()
    message = log.message()
    log.text(message, "é", logprobs=['{"token":"é","logprob":-1,"bytes":null,"top_logprobs":[]}'])
    log.completed(run_pb2.Usage())
    delta = next(event for event in stream(log) if event["type"] == "response.output_text.delta")
    assert delta["logprobs"] == [{"token": "é", "logprob": -1.0, "bytes": [195, 169], "top_logprobs": []}]


def test_an_item_that_is_newer_than_this_reader_is_left_out() -> None:
    log = LogWriter()
    log.queued(SPEC)
    log.started()
    unknown = log._start("new", item_pb2.Item(), 0)
    message = log.message()
    log.text(message, "hi")
    log.close(unknown)
    log.completed(run_pb2.Usage())
    events = stream(log)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message"]
    assert {event["output_index"] for event in events if "output_index" in event} == {0}


def test_a_thought_may_show_itself_and_its_summary() -> None:
    log = LogWriter()
    log.queued(SPEC)
    log.started()
    thought = log.reasoning()
    log.thought(thought, "One.")
    log.thought(thought, "Sum", summary=True)
    log.thought(thought, "Two.")
    log.completed(run_pb2.Usage())
    item = stream(log)[-1]["response"]["output"][0]
    assert item["content"] == [{"type": "reasoning_text", "text": "One.Two."}]
    assert item["summary"] == [{"type": "summary_text", "text": "Sum"}]
