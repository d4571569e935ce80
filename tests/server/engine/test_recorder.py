"""The recorder: every step becomes its events, and what is open gets closed."""

from collections.abc import Sequence

import pytest
from breezeway.telemetry.traces import NO_SPAN
from breezeway.v1 import event_pb2, item_pb2, run_pb2
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    ReasoningDelta,
    RefusalDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallOutput,
    ToolCallStarted,
    ToolProgress,
)
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.recorder import IllegalStep, Recorder
from breezeway_server.engine.watch import Watch
from breezeway_server.events.fold import RunFold, fold
from breezeway_server.events.framing import decode
from breezeway_server.events.legal import IllegalEvent
from breezeway_server.events.log import EventLog
from breezeway_server.events.log_store import NewRun

from tests.server.events.fakes import FakeLogStore
from tests.support.agents import said
from tests.support.server import kinds

RUN = "run_019a3e5c7d0070008000000000000001"
SERVER, CLIENT = item_pb2.EXECUTOR_SERVER, item_pb2.EXECUTOR_CLIENT
COMPLETED, INCOMPLETE = item_pb2.ITEM_STATUS_COMPLETED, item_pb2.ITEM_STATUS_INCOMPLETE
INTERRUPTED = item_pb2.INCOMPLETE_REASON_INTERRUPTED
LENGTH = item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS
OUTPUT_LIMIT = item_pb2.INCOMPLETE_REASON_OUTPUT_LIMIT


def part(text: str) -> item_pb2.ContentPart:
    return item_pb2.ContentPart(text=item_pb2.Text(text=text))


class Recording:
    """A recorder, and what it has written."""

    def __init__(self, before: Sequence[event_pb2.RunEvent] = (), *, attempt: int = 1, limit: int = 1_000_000) -> None:
        self._log = EventLog(FakeLogStore(), patience=0)
        self.fold = fold(RUN, before, [said("hello")])
        self._before = list(before)
        run_log = self._log.open(RUN, attempt, logged=False, after=len(before))
        self._run_log = run_log
        self._now = 0
        self.spent: list[int] = []
        self.recorder = Recorder(
            self._log,
            run_log,
            self.fold,
            output_limit=limit,
            spend=self.spent.append,
            watch=Watch(RunMetrics().of("a"), NO_SPAN),
            clock=self._clock,
        )
        if not before:
            new = NewRun(tenant="t", spec=run_pb2.RunSpec(agent="a"), input=self.fold.input, create_time_ns=1)
            self.recorder.queue(new)
        self.recorder.start()

    def _clock(self) -> int:
        self._now += 1_500_000_000
        return self._now

    @property
    def events(self) -> list[event_pb2.RunEvent]:
        """All events, those before included."""
        _, frames = self._run_log.read(len(self._before), milestones=False)
        return [*self._before, *decode(frames)]

    def say(self, *steps: Step) -> list[event_pb2.RunEvent]:
        """Record steps; the events that they became."""
        before = len(self.events)
        for step in steps:
            assert self.recorder.record(step)
        return self.events[before:]

    @property
    def output(self) -> list[item_pb2.Item]:
        """The run's output now, open items included."""
        return list(self.fold.snapshot().output)

    def finished(self) -> run_pb2.Run:
        self.recorder.finish()
        return self.fold.snapshot()


@pytest.fixture
def recording() -> Recording:
    return Recording()


def begin_call(call_id: str = "c1", executor: item_pb2.Executor.ValueType = SERVER, choice: int = 0) -> ToolCallStarted:
    return ToolCallStarted(call_id, "add", executor, choice)


def test_an_envelope_is_filled_in(recording: Recording) -> None:
    recording.say(TextDelta("x"))
    for number, event in enumerate(recording.events, start=1):
        assert (event.run_id, event.sequence, event.attempt) == (RUN, number, 1)
        assert event.create_time.ToNanoseconds() > 0
    times = [event.create_time.ToNanoseconds() for event in recording.events]
    assert times == sorted(times)


def test_text_opens_a_message_and_goes_on_in_it(recording: Recording) -> None:
    events = recording.say(TextDelta("Hel"), TextDelta("lo", logprobs=("{}",)))
    assert kinds(events) == ["item_started", "text_delta", "text_delta"]
    started = events[0].item_started.item
    assert started.id == f"msg_{RUN[4:]}000001", "the input has position 0"
    assert started.run_id == RUN
    assert started.status == item_pb2.ITEM_STATUS_IN_PROGRESS
    assert started.message.role == item_pb2.ROLE_ASSISTANT
    assert not started.message.content
    assert {event.text_delta.item_id for event in events[1:]} == {started.id}
    run = recording.finished()
    assert run.state == run_pb2.RUN_STATE_COMPLETED
    (item,) = run.output
    assert item.status == COMPLETED
    assert item.create_time.ToNanoseconds() > 0
    assert (item.message.content[0].text.text, list(item.message.content[0].text.logprobs)) == ("Hello", ["{}"])


def test_an_empty_delta_says_nothing(recording: Recording) -> None:
    assert not recording.say(TextDelta(""), RefusalDelta(""), ReasoningDelta(""))
    assert kinds(recording.say(TextDelta("", logprobs=("{}",)))) == ["item_started", "text_delta"]


def test_text_and_refusal_are_parts_of_one_message(recording: Recording) -> None:
    events = recording.say(TextDelta("a"), RefusalDelta("b"), RefusalDelta("c"), TextDelta("d"))
    deltas = [event.text_delta if event.HasField("text_delta") else event.refusal_delta for event in events[1:]]
    assert [delta.content_index for delta in deltas] == [0, 1, 1, 2]
    (item,) = recording.finished().output
    assert [content.text.text or content.refusal.text for content in item.message.content] == ["a", "bc", "d"]


def test_a_thought_ends_where_the_text_begins(recording: Recording) -> None:
    events = recording.say(ReasoningDelta("hm", summary=True), TextDelta("so"), ReasoningDelta("or"))
    assert kinds(events) == [
        *["item_started", "reasoning_delta", "item_completed"],
        *["item_started", "text_delta", "item_completed"],
        *["item_started", "reasoning_delta"],
    ]
    output = recording.finished().output
    assert [item.WhichOneof("kind") for item in output] == ["reasoning", "message", "reasoning"]
    assert list(output[0].reasoning.summary) == ["hm"]
    assert list(output[2].reasoning.content) == ["or"]
    assert [int(item.id[-6:], 16) for item in output] == [1, 2, 3]


def test_another_part_index_begins_another_part_wherever_it_counts_from(recording: Recording) -> None:
    recording.say(
        ReasoningDelta("a", part_index=0),
        ReasoningDelta("b", part_index=0),
        ReasoningDelta("c", part_index=1),
        ReasoningDelta("S", part_index=0, summary=True),
        ReasoningDelta("T", part_index=3, summary=True),
        ReasoningDelta("d", part_index=1),
        TextDelta("text between"),
        ReasoningDelta("e", part_index=2),
        ReasoningDelta("f", part_index=2),
    )
    first, _, second = recording.finished().output
    assert list(first.reasoning.content) == ["ab", "cd"]
    assert list(first.reasoning.summary) == ["S", "T"]
    assert list(second.reasoning.content) == ["ef"]


def test_a_call_closes_the_message_and_stays_open(recording: Recording) -> None:
    events = recording.say(
        TextDelta("let me"),
        begin_call("c1"),
        begin_call("c2"),
        ToolArgumentsDelta("c1", '{"a"'),
        ToolArgumentsDelta("c2", "{}"),
        ToolArgumentsDelta("c1", ":1}"),
        ToolCallCompleted("c2"),
    )
    assert kinds(events) == [
        *["item_started", "text_delta", "item_completed", "item_started", "item_started"],
        *["tool_arguments_delta"] * 3,
        "item_completed",
    ]
    call = events[3].item_started.item
    assert call.id.startswith("fc_")
    assert (call.function_call.call_id, call.function_call.name, call.function_call.arguments) == ("c1", "add", "")
    run = recording.finished()
    assert [item.function_call.arguments for item in run.output] == ["", '{"a":1}', "{}"]
    assert {item.status for item in run.output} == {COMPLETED}, "the end of the agent closes what is left"


def test_a_tool_answers_whole(recording: Recording) -> None:
    recording.say(begin_call("c1", choice=2), ToolCallCompleted("c1"), ToolProgress("c1", "half"))
    events = recording.say(ToolCallOutput("c1", (part("3"),), is_error=True))
    assert kinds(events) == ["item_started", "item_completed"]
    assert not events[0].item_started.item.function_call_output.content
    item = events[1].item_completed.item
    assert item.id == events[0].item_started.item.id
    assert item.id.startswith("fco_")
    assert item.status == COMPLETED
    assert item.choice_index == 2, "that of its call"
    assert item.function_call_output == item_pb2.FunctionCallOutput(call_id="c1", content=[part("3")], is_error=True)


def test_what_the_model_says_after_a_tool_has_answered_is_another_message(recording: Recording) -> None:
    recording.say(begin_call(), ToolCallCompleted("c1"), TextDelta("wait"), ToolCallOutput("c1", ()), TextDelta("so"))
    assert [item.WhichOneof("kind") for item in recording.finished().output] == [
        "function_call",
        "message",
        "function_call_output",
        "message",
    ]


def test_choices_are_told_apart(recording: Recording) -> None:
    recording.say(TextDelta("a0", 0), TextDelta("b0", 1), TextDelta("a1", 0), ReasoningDelta("c", choice_index=1))
    output = recording.finished().output
    assert [(item.choice_index, item.WhichOneof("kind")) for item in output] == [
        (0, "message"),
        (1, "message"),
        (1, "reasoning"),
    ]
    assert output[0].message.content[0].text.text == "a0a1"


def test_usage_is_summed(recording: Recording) -> None:
    usage = run_pb2.Usage(input_tokens=2, output_tokens=3)
    assert kinds(recording.say(ModelCallCompleted("m", usage), ModelCallCompleted("m", usage))) == [
        "model_call_completed",
        "model_call_completed",
    ]
    run = recording.finished()
    assert run.usage == run_pb2.Usage(input_tokens=4, output_tokens=6, model_calls=2)
    assert recording.spent == [5, 5]
    assert recording.events[-1].run_completed.usage == run.usage


def test_a_choice_that_ends_early_makes_the_run_incomplete(recording: Recording) -> None:
    recording.say(
        TextDelta("cut", 0),
        begin_call("c1", choice=0),
        TextDelta("whole", 1),
        ChoiceIncomplete(LENGTH, 0),
        TextDelta("!", 1),
    )
    run = recording.finished()
    assert (run.state, run.incomplete_reason) == (run_pb2.RUN_STATE_INCOMPLETE, LENGTH)
    assert [(item.status, item.incomplete_reason) for item in run.output] == [
        (COMPLETED, 0),
        (INCOMPLETE, LENGTH),
        (COMPLETED, 0),
    ]


def test_the_first_limit_is_the_runs(recording: Recording) -> None:
    recording.say(ChoiceIncomplete(LENGTH, 0), ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_CONTENT_FILTER, 1))
    assert recording.finished().incomplete_reason == LENGTH


def test_a_broken_run_closes_what_is_open(recording: Recording) -> None:
    recording.say(
        TextDelta("half", 0), begin_call("c1", choice=1), ModelCallCompleted("m", run_pb2.Usage(output_tokens=1))
    )
    recording.recorder.fail(run_pb2.RunError(reason="AGENT_FAILED", message="broke"))
    run = recording.fold.snapshot()
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert run.error.reason == "AGENT_FAILED"
    assert run.usage.output_tokens == 1
    assert [(item.status, item.incomplete_reason) for item in run.output] == [(INCOMPLETE, INTERRUPTED)] * 2
    assert run.output[0].message.content[0].text.text == "half"


def test_a_cancelled_run_closes_what_is_open(recording: Recording) -> None:
    recording.say(TextDelta("half"))
    recording.recorder.cancel()
    assert kinds(recording.events)[-2:] == ["item_completed", "run_cancelled"]
    assert recording.fold.snapshot().output[0].incomplete_reason == INTERRUPTED


def test_nothing_comes_after_an_end(recording: Recording) -> None:
    recording.finished()
    for more in (recording.recorder.finish, recording.recorder.cancel, recording.recorder.start):
        with pytest.raises(IllegalEvent):
            more()
    with pytest.raises(IllegalEvent):
        recording.recorder.record(TextDelta("late"))


ILLEGAL: dict[str, Sequence[Step]] = {
    "arguments of a call that never began": [ToolArgumentsDelta("c1", "{")],
    "the end of a call that never began": [ToolCallCompleted("c1")],
    "progress of a call that never began": [ToolProgress("c1", "x")],
    "the output of a call that never began": [ToolCallOutput("c1", ())],
    "a call twice": [begin_call(), begin_call()],
    "a call twice, the first being whole": [begin_call(), ToolCallCompleted("c1"), begin_call()],
    "arguments of a whole call": [begin_call(), ToolCallCompleted("c1"), ToolArgumentsDelta("c1", "{")],
    "the end of a call twice": [begin_call(), ToolCallCompleted("c1"), ToolCallCompleted("c1")],
    "the output of an open call": [begin_call(), ToolCallOutput("c1", ())],
    "the output of the caller's call": [
        begin_call(executor=CLIENT),
        ToolCallCompleted("c1"),
        ToolCallOutput("c1", ()),
    ],
    "an output twice": [begin_call(), ToolCallCompleted("c1"), ToolCallOutput("c1", ()), ToolCallOutput("c1", ())],
}


@pytest.mark.parametrize("what", ILLEGAL)
def test_an_agent_cannot_say(recording: Recording, what: str) -> None:
    *before, step = ILLEGAL[what]
    recording.say(*before)
    count = len(recording.events)
    with pytest.raises((IllegalStep, IllegalEvent)):
        recording.recorder.record(step)
    assert len(recording.events) == count, "what is refused leaves no trace"
    recording.recorder.fail(run_pb2.RunError(reason="AGENT_FAILED"))
    assert fold(RUN, recording.events, [said("hello")]).over


@pytest.mark.parametrize("text", ["x" * 50, "\U0001f3d7" * 13], ids=["ascii", "wide"])
def test_the_output_ends_at_its_limit_in_bytes(text: str) -> None:
    recording = Recording(limit=500)
    steps = 0
    while recording.recorder.record(TextDelta(text)):
        steps += 1
    assert steps < 10
    assert kinds(recording.events)[-1] == "item_completed"
    run = recording.finished()
    assert (run.state, run.incomplete_reason) == (run_pb2.RUN_STATE_INCOMPLETE, OUTPUT_LIMIT)
    assert run.output[0].incomplete_reason == OUTPUT_LIMIT


ENDLESS: dict[str, Sequence[Step]] = {
    "log probabilities": [TextDelta("", logprobs=("x" * 100,))],
    "thoughts": [ReasoningDelta("x" * 100)],
    "refusals": [RefusalDelta("x" * 100)],
    "arguments": [begin_call(), *[ToolArgumentsDelta("c1", "x" * 100)] * 10],
    "progress": [begin_call(), *[ToolProgress("c1", "x" * 100)] * 10],
    "outputs": [begin_call(), ToolCallCompleted("c1"), ToolCallOutput("c1", (part("x" * 1000),))],
    "calls": [begin_call(str(number)) for number in range(100)],
}


@pytest.mark.parametrize("what", ENDLESS)
def test_everything_counts_towards_the_limit(what: str) -> None:
    recording = Recording(limit=500)
    steps = [*ENDLESS[what], *[ENDLESS[what][-1]] * 10] if what != "outputs" else ENDLESS[what]
    assert not all(recording.recorder.record(step) for step in steps)
    assert not list(recording.fold.open)


def lost(*steps: Step) -> list[event_pb2.RunEvent]:
    """The log of an attempt that was lost after these steps."""
    recording = Recording()
    recording.say(*steps)
    return recording.events


def test_the_next_attempt_closes_what_the_last_left_open() -> None:
    before = lost(TextDelta("half"), begin_call("c1", choice=1))
    recording = Recording(before, attempt=2)
    new = recording.events[len(before) :]
    assert kinds(new) == ["run_started", "item_completed", "item_completed"]
    assert {event.attempt for event in new} == {2}
    assert {item.incomplete_reason for item in recording.output} == {INTERRUPTED}
    events = recording.say(TextDelta("again"))
    assert int(events[0].item_started.item.id[-6:], 16) == 3, "positions go on"


def test_the_next_attempt_may_answer_a_call_of_the_last() -> None:
    before = lost(
        begin_call("c1"), ToolCallCompleted("c1"), begin_call("c2"), ToolCallCompleted("c2"), ToolCallOutput("c2", ())
    )
    recording = Recording(before, attempt=2)
    assert kinds(recording.say(ToolCallOutput("c1", (part("3"),)))) == ["item_started", "item_completed"]
    with pytest.raises(IllegalStep, match="has its output"):
        recording.recorder.record(ToolCallOutput("c2", ()))


@pytest.mark.parametrize("attempts", [2, 3])
def test_a_call_that_was_cut_may_be_made_again(attempts: int) -> None:
    before = lost(begin_call("c1"))
    for attempt in range(2, attempts):
        before = Recording(before, attempt=attempt).events
    recording = Recording(before, attempt=attempts)
    recording.say(begin_call("c1"), ToolCallCompleted("c1"), ToolCallOutput("c1", ()))
    assert recording.finished().state == run_pb2.RUN_STATE_COMPLETED


def test_leave_is_asked_for_a_whole_call_and_resolved(recording: Recording) -> None:
    with pytest.raises(IllegalStep):
        recording.recorder.request_approval("c1")
    recording.say(begin_call(), ToolArgumentsDelta("c1", "{}"))
    with pytest.raises(IllegalStep):
        recording.recorder.request_approval("c1")
    recording.say(ToolCallCompleted("c1"))
    asked = recording.recorder.request_approval("c1")
    assert kinds(recording.events)[-3:] == ["item_started", "item_completed", "approval_requested"]
    request = recording.events[-2].item_completed.item
    assert request.id == asked
    assert request.approval_request == item_pb2.ApprovalRequest(call_id="c1", name="add", arguments="{}")
    assert recording.fold.state == run_pb2.RUN_STATE_REQUIRES_ACTION
    recording.recorder.resolve_approval(asked, item_pb2.APPROVAL_DECISION_DENY, "no")
    assert recording.fold.state == run_pb2.RUN_STATE_IN_PROGRESS


def test_an_agent_that_ends_while_it_waits_for_leave_still_ends(recording: Recording) -> None:
    recording.say(begin_call(), ToolCallCompleted("c1"))
    recording.recorder.request_approval("c1")
    assert recording.finished().state == run_pb2.RUN_STATE_COMPLETED


def test_the_log_is_the_fold(recording: Recording) -> None:
    recording.say(TextDelta("a"), begin_call(), ToolCallCompleted("c1"), ToolCallOutput("c1", ()), TextDelta("b"))
    run = recording.finished()
    folded: RunFold = fold(RUN, recording.events, [said("hello")])
    assert folded.snapshot() == run
