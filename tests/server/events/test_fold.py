"""The fold takes in legal logs and refuses all others."""

from collections.abc import Callable

import pytest
from breezeway.v1 import event_pb2, item_pb2, run_pb2
from breezeway_server.events.fold import RunFold, fold
from breezeway_server.events.legal import TERMINAL_KINDS, TERMINAL_STATES, TRANSITIONS, IllegalEvent

from tests.support.agents import said
from tests.support.logs import RUN_ID, LogWriter, read_log

USAGE = run_pb2.Usage(input_tokens=3, output_tokens=5, model_calls=1)
KINDS = sorted(field.name for field in event_pb2.RunEvent.DESCRIPTOR.oneofs_by_name["kind"].fields)
APPROVAL = item_pb2.APPROVAL_DECISION_ONCE


def bare(kind: str, **envelope: int) -> event_pb2.RunEvent:
    event = event_pb2.RunEvent(run_id=RUN_ID, **envelope)  # type: ignore[arg-type] # the envelope's numbers
    getattr(event, kind).SetInParent()
    return event


def in_state(state: run_pb2.RunState.ValueType) -> LogWriter:
    """A log that leads to a state."""
    log = LogWriter()
    if state == run_pb2.RUN_STATE_UNSPECIFIED:
        return log
    log.queued(run_pb2.RunSpec(agent="a"))
    if state == run_pb2.RUN_STATE_QUEUED:
        return log
    log.started()
    match state:
        case run_pb2.RUN_STATE_REQUIRES_ACTION:
            log.add(event_pb2.RunEvent(approval_requested=event_pb2.ApprovalRequested(item_id="apr_1")))
        case run_pb2.RUN_STATE_COMPLETED:
            log.completed(USAGE)
        case run_pb2.RUN_STATE_INCOMPLETE:
            log.incomplete(USAGE, item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS)
        case run_pb2.RUN_STATE_FAILED:
            log.failed(USAGE, run_pb2.RunError(reason="AGENT_FAILED"))
        case run_pb2.RUN_STATE_CANCELLED:
            log.cancelled(USAGE)
    return log


STATES = list(run_pb2.RunState.values())


@pytest.mark.parametrize("state", STATES, ids=run_pb2.RunState.Name)
def test_a_log_can_lead_to_every_state(state: run_pb2.RunState.ValueType) -> None:
    assert fold(RUN_ID, in_state(state).events).state == state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES, ids=run_pb2.RunState.Name)
def test_what_the_table_does_not_allow_is_refused(state: run_pb2.RunState.ValueType, kind: str) -> None:
    if (state, kind) in TRANSITIONS:
        return
    log = in_state(state)
    folded = fold(RUN_ID, log.events)
    with pytest.raises(IllegalEvent, match=kind):
        folded.apply(bare(kind, sequence=len(log.events) + 1, attempt=1))
    assert folded.last_sequence == len(log.events)
    assert folded.state == state


def test_the_table_names_every_kind_and_none_follows_an_end() -> None:
    assert {kind for _, kind in TRANSITIONS} == set(KINDS)
    assert not [state for state, _ in TRANSITIONS if state in TERMINAL_STATES]
    assert {kind for (_, kind), after in TRANSITIONS.items() if after in TERMINAL_STATES} == TERMINAL_KINDS


@pytest.mark.parametrize("state", [run_pb2.RUN_STATE_UNSPECIFIED, *sorted(TERMINAL_STATES)], ids=run_pb2.RunState.Name)
def test_even_an_unknown_event_is_neither_first_nor_behind_the_end(state: run_pb2.RunState.ValueType) -> None:
    log = in_state(state)
    folded = fold(RUN_ID, log.events)
    with pytest.raises(IllegalEvent):
        folded.apply(event_pb2.RunEvent(sequence=len(log.events) + 1, attempt=1))


def test_an_unknown_event_is_counted_and_skipped() -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    before = fold(RUN_ID, log.events).snapshot()
    log.unknown()
    after = fold(RUN_ID, log.events).snapshot()
    assert after.last_sequence == before.last_sequence + 1
    after.last_sequence = before.last_sequence
    assert after == before


@pytest.mark.parametrize("sequence", [0, 1, 2, 4])
def test_a_gap_and_a_repeat_are_refused(sequence: int) -> None:
    folded = fold(RUN_ID, in_state(run_pb2.RUN_STATE_IN_PROGRESS).events)
    with pytest.raises(IllegalEvent, match="came after 2"):
        folded.apply(bare("tool_progress", sequence=sequence, attempt=1))


def test_an_attempt_begins_once_and_an_earlier_one_is_silent() -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    log.restarted()
    folded = fold(RUN_ID, log.events)
    assert folded.attempt == 2
    with pytest.raises(IllegalEvent, match="began twice"):
        folded.apply(bare("run_started", sequence=4, attempt=2))
    with pytest.raises(IllegalEvent, match="attempt 1 wrote after 2"):
        folded.apply(bare("tool_progress", sequence=4, attempt=1))


Wrong = Callable[[LogWriter, str], event_pb2.RunEvent]
WRONG_DELTAS: dict[str, Wrong] = {
    "of an item that never began": lambda _, _item: event_pb2.RunEvent(text_delta=event_pb2.TextDelta(item_id="msg_x")),
    "of another kind of item": lambda _, item: event_pb2.RunEvent(
        tool_arguments_delta=event_pb2.ToolArgumentsDelta(item_id=item, arguments="{")
    ),
    "of a thought in a message": lambda _, item: event_pb2.RunEvent(
        reasoning_delta=event_pb2.ReasoningDelta(item_id=item, text="hm")
    ),
    "that leaves a part out": lambda _, item: event_pb2.RunEvent(
        text_delta=event_pb2.TextDelta(item_id=item, content_index=2, text="x")
    ),
    "that makes a refusal of a text": lambda _, item: event_pb2.RunEvent(
        refusal_delta=event_pb2.RefusalDelta(item_id=item, content_index=0, text="x")
    ),
    "that begins an item anew": lambda _, item: event_pb2.RunEvent(
        item_started=event_pb2.ItemStarted(item=item_pb2.Item(id=item, message=item_pb2.Message()))
    ),
    "that ends an item that never began": lambda _, _item: event_pb2.RunEvent(
        item_completed=event_pb2.ItemCompleted(item=item_pb2.Item(id="msg_x"))
    ),
    "that ends the run while an item is open": lambda _, _item: event_pb2.RunEvent(
        run_completed=event_pb2.RunCompleted()
    ),
    "that resolves what nobody asked": lambda _, _item: event_pb2.RunEvent(
        approval_resolved=event_pb2.ApprovalResolved(item_id="apr_x", decision=APPROVAL)
    ),
}


@pytest.mark.parametrize("what", WRONG_DELTAS)
def test_an_event_is_refused(what: str) -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    item = log.message()
    log.text(item, "so far")
    folded = fold(RUN_ID, log.events)
    before = folded.snapshot()
    log.add(WRONG_DELTAS[what](log, item))
    with pytest.raises(IllegalEvent):
        folded.apply(log.events[-1])
    assert folded.snapshot() == before, "what is refused leaves no trace"


def test_nothing_names_an_item_that_has_ended() -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    item = log.message()
    log.close(item)
    folded = fold(RUN_ID, log.events)
    log.add(event_pb2.RunEvent(text_delta=event_pb2.TextDelta(item_id=item, text="late")))
    with pytest.raises(IllegalEvent, match="not open"):
        folded.apply(log.events[-1])


def test_a_snapshot_in_the_middle_has_open_items_with_what_they_have() -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    thought = log.reasoning()
    log.thought(thought, "let me", summary=True)
    log.thought(thought, " see", summary=True)
    log.close(thought)
    message = log.message()
    log.text(message, "Hel")
    log.text(message, "lo", logprobs=['{"token":"lo"}'])
    log.refusal(message, "no", 1)
    call = log.call("add", item_pb2.EXECUTOR_SERVER)
    log.arguments(call, '{"a"')
    log.arguments(call, ":1}")
    folded = fold(RUN_ID, log.events, [said("hi")])
    run = folded.snapshot()
    assert run.state == run_pb2.RUN_STATE_IN_PROGRESS
    assert [said("hi")] == list(run.input)
    assert [item.id for item in run.output] == [thought, message, call]
    assert list(run.output[0].reasoning.summary) == ["let me see"]
    assert run.output[1].status == item_pb2.ITEM_STATUS_IN_PROGRESS
    assert [part.text.text or part.refusal.text for part in run.output[1].message.content] == ["Hello", "no"]
    assert list(run.output[1].message.content[0].text.logprobs) == ['{"token":"lo"}']
    assert run.output[2].function_call.arguments == '{"a":1}'
    run.output[1].message.content[0].text.text = "changed"
    assert folded.snapshot().output[1].message.content[0].text.text == "Hello", "the caller owns what it gets"
    assert [item.id for item in folded.completed] == [thought]
    assert [item.id for item in folded.open] == [message, call]


def test_usage_is_the_sum_of_the_calls_until_the_end_says_it() -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    log.model_call(run_pb2.Usage(input_tokens=10, cached_input_tokens=4, output_tokens=2))
    log.model_call(run_pb2.Usage(input_tokens=20, output_tokens=3, reasoning_output_tokens=1, model_calls=1))
    usage = fold(RUN_ID, log.events).usage
    assert (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) == (30, 4, 5)
    assert (usage.reasoning_output_tokens, usage.model_calls) == (1, 2)
    log.failed(USAGE, run_pb2.RunError(reason="AGENT_FAILED", message="broke"))
    run = fold(RUN_ID, log.events).snapshot()
    assert run.usage == USAGE
    assert run.error.reason == "AGENT_FAILED"


def test_a_run_waits_until_the_last_approval_is_resolved() -> None:
    log = in_state(run_pb2.RUN_STATE_IN_PROGRESS)
    for item in ("apr_1", "apr_2"):
        log.add(event_pb2.RunEvent(approval_requested=event_pb2.ApprovalRequested(item_id=item)))
    folded = fold(RUN_ID, log.events)
    for item, state in (("apr_1", run_pb2.RUN_STATE_REQUIRES_ACTION), ("apr_2", run_pb2.RUN_STATE_IN_PROGRESS)):
        assert folded.state == run_pb2.RUN_STATE_REQUIRES_ACTION
        log.add(event_pb2.RunEvent(approval_resolved=event_pb2.ApprovalResolved(item_id=item, decision=APPROVAL)))
        folded.apply(log.events[-1])
        assert folded.state == state


def test_an_approval_is_resolved_once() -> None:
    log = in_state(run_pb2.RUN_STATE_REQUIRES_ACTION)
    log.add(event_pb2.RunEvent(approval_requested=event_pb2.ApprovalRequested(item_id="apr_2")))
    resolved = event_pb2.ApprovalResolved(item_id="apr_1", decision=APPROVAL)
    log.add(event_pb2.RunEvent(approval_resolved=resolved))
    folded = fold(RUN_ID, log.events)
    log.add(event_pb2.RunEvent(approval_resolved=resolved))
    with pytest.raises(IllegalEvent, match="apr_1"):
        folded.apply(log.events[-1])


def test_times_are_those_of_the_events() -> None:
    events = read_log("second_attempt")
    run = fold(RUN_ID, events).snapshot()
    started = [event for event in events if event.HasField("run_started")]
    assert len(started) == 2
    assert run.create_time == events[0].create_time
    assert run.start_time == started[0].create_time, "the agent's first beginning"
    assert run.end_time == events[-1].create_time
    assert run.attempt == 2


def test_the_head_is_the_run_without_what_may_be_large() -> None:
    folded = fold(RUN_ID, read_log("text"), [said("hi")])
    head = folded.head()
    assert not head.input
    assert not head.output
    assert not head.HasField("spec")
    whole = folded.snapshot()
    for field in ("input", "output", "spec"):
        whole.ClearField(field)
    assert head == whole


def test_notes_may_change_without_an_event() -> None:
    folded: RunFold = fold(RUN_ID, in_state(run_pb2.RUN_STATE_QUEUED).events)
    folded.annotate({"a": "b"})
    assert dict(folded.snapshot().spec.metadata) == {"a": "b"}
    folded.annotate({})
    assert dict(folded.spec.metadata) == {}
