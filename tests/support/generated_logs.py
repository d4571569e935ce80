"""Legal logs that Hypothesis makes up, and other cuts of the text in a log."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from breezeway.v1 import event_pb2, item_pb2, run_pb2
from hypothesis import strategies as st

from tests.support.logs import LogWriter

USAGE = st.builds(
    run_pb2.Usage,
    input_tokens=st.integers(0, 5000),
    cached_input_tokens=st.integers(0, 500),
    output_tokens=st.integers(0, 5000),
    reasoning_output_tokens=st.integers(0, 500),
    model_calls=st.integers(1, 9),
)
# No lone surrogates: a proto string cannot hold them.
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
LIMITS = [
    item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS,
    item_pb2.INCOMPLETE_REASON_CONTENT_FILTER,
    item_pb2.INCOMPLETE_REASON_MAX_ITERATIONS,
    item_pb2.INCOMPLETE_REASON_TOKEN_BUDGET,
]


def run_logs() -> st.SearchStrategy[list[event_pb2.RunEvent]]:
    """Whole legal logs with events of every kind, unknown ones among them."""
    return _run_logs()


@st.composite
def _run_logs(draw: st.DrawFn) -> list[event_pb2.RunEvent]:
    choices = draw(st.integers(1, 3))
    spec = run_pb2.RunSpec(agent=draw(st.sampled_from(["assistant", "demo"])), dialect="chat_completions")
    if choices > 1:
        spec.sampling.n = choices
    story = _Story(draw, choices)
    log = story.log
    log.queued(spec)
    if draw(st.integers(0, 9)) == 0:
        return log.cancelled(run_pb2.Usage())
    log.started()
    for _ in range(draw(st.integers(0, 25))):
        draw(st.sampled_from(story.steps))()
    story.settle_calls()
    usage = draw(USAGE)
    match draw(st.sampled_from(["completed", "completed", "incomplete", "failed", "cancelled"])):
        case "completed":
            return log.completed(usage)
        case "incomplete":
            return log.incomplete(usage, draw(st.sampled_from(LIMITS)))
        case "failed":
            error = run_pb2.RunError(
                reason=draw(st.sampled_from(["UPSTREAM_ERROR", "AGENT_FAILED", "A_NEW_REASON"])), message=draw(WORDS)
            )
            return log.failed(usage, error)
        case _:
            return log.cancelled(usage)


class _Story:
    """What may come next: as the engine has it, each choice has at most one message or thought open."""

    def __init__(self, draw: st.DrawFn, choices: int) -> None:
        self.log = LogWriter()
        self._draw = draw
        self._choices = choices
        self._unanswered: list[item_pb2.Item] = []
        self.steps: list[Callable[[], None]] = [
            self.say,
            self.say,
            self.say,
            self.think,
            self.refuse,
            self.begin_call,
            self.begin_call,
            self.write_arguments,
            self.write_arguments,
            self.end_call,
            self.end_call,
            self.end_call,
            self.answer_call,
            self.report_progress,
            self.report_progress,
            self.report_usage,
            self.be_newer,
            self.be_restarted,
            self.ask_leave,
            self.ask_leave,
        ]

    def say(self) -> None:
        item_id, part = self._written("text")
        logprobs = self._draw(st.sampled_from([(), ('{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[]}',)]))
        self.log.text(item_id, self._draw(WORDS), part, logprobs)

    def refuse(self) -> None:
        item_id, part = self._written("refusal")
        self.log.refusal(item_id, self._draw(WORDS), part)

    def think(self) -> None:
        choice = self._draw(st.integers(0, self._choices - 1))
        summary = self._draw(st.booleans())
        item = self._current(choice)
        # A thought shows itself or its summary here, not both: which comes first is told by deltas alone.
        if (
            item is None
            or not item.HasField("reasoning")
            or (item.reasoning.content if summary else item.reasoning.summary)
        ):
            self._close_written(choice)
            self.log.reasoning(choice)
        item = self._current(choice)
        assert item is not None
        parts = item.reasoning.summary if summary else item.reasoning.content
        part = max(0, len(parts) - self._draw(st.integers(0, 1)))
        self.log.thought(item.id, self._draw(WORDS), part, summary=summary)

    def begin_call(self) -> None:
        choice = self._draw(st.integers(0, self._choices - 1))
        self._close_written(choice)
        executor = self._draw(st.sampled_from([item_pb2.EXECUTOR_CLIENT, item_pb2.EXECUTOR_SERVER]))
        self.log.call(self._draw(st.sampled_from(["add", "get_weather"])), executor, choice)

    def write_arguments(self) -> None:
        if calls := self._open_calls():
            self.log.arguments(self._draw(st.sampled_from(calls)).id, self._draw(WORDS))

    def end_call(self) -> None:
        if calls := self._open_calls():
            item = self.log.close(self._draw(st.sampled_from(calls)).id)
            if item.function_call.executor == item_pb2.EXECUTOR_SERVER:
                self._unanswered.append(item)

    def answer_call(self) -> None:
        if self._unanswered:
            item = self._unanswered.pop(0)
            failed = self._draw(st.booleans())
            self.log.output(item.function_call.call_id, self._draw(WORDS), is_error=failed, choice=item.choice_index)

    def report_progress(self) -> None:
        if self._unanswered:
            self.log.progress(self._unanswered[0].id, self._draw(WORDS))

    def report_usage(self) -> None:
        self.log.model_call(self._draw(USAGE))

    def be_newer(self) -> None:
        self.log.unknown()

    def be_restarted(self) -> None:
        if self._draw(st.integers(0, 3)) == 0:
            self.log.restarted()

    def ask_leave(self) -> None:
        if self._unanswered:
            item = self._unanswered[0]
            self.log.approval(item.function_call, item_pb2.APPROVAL_DECISION_ONCE, item.choice_index)

    def settle_calls(self) -> None:
        """Answer what is not answered; what is still open stays so for the terminal event to close."""
        while self._unanswered:
            self.answer_call()

    def _written(self, part_kind: str) -> tuple[str, int]:
        """The open message of some choice, and a part of it to go on with, old or new."""
        choice = self._draw(st.integers(0, self._choices - 1))
        item = self._current(choice)
        if item is None or not item.HasField("message"):
            self._close_written(choice)
            return self.log.message(choice), 0
        content = item.message.content
        last = len(content) - 1
        if last >= 0 and content[last].WhichOneof("kind") == part_kind and self._draw(st.booleans()):
            return item.id, last
        return item.id, last + 1

    def _current(self, choice: int) -> item_pb2.Item | None:
        return next(
            (
                item
                for item in self.log.open_items
                if item.choice_index == choice and item.WhichOneof("kind") in {"message", "reasoning"}
            ),
            None,
        )

    def _close_written(self, choice: int) -> None:
        if item := self._current(choice):
            self.log.close(item.id)

    def _open_calls(self) -> Sequence[item_pb2.Item]:
        return [item for item in self.log.open_items if item.HasField("function_call")]


def cut_finely(events: Iterable[event_pb2.RunEvent]) -> list[event_pb2.RunEvent]:
    """The same log with one character a delta. Log probabilities stay with the first."""
    return _renumbered(piece for event in events for piece in _characters(event))


def cut_coarsely(events: Iterable[event_pb2.RunEvent]) -> list[event_pb2.RunEvent]:
    """The same log with deltas that follow each other in one part of one item made one."""
    merged: list[event_pb2.RunEvent] = []
    for event in events:
        copy = event_pb2.RunEvent()
        copy.CopyFrom(event)
        if merged and _continues(merged[-1], copy):
            _extend(merged[-1], copy)
        else:
            merged.append(copy)
    return _renumbered(merged)


def _characters(event: event_pb2.RunEvent) -> Iterator[event_pb2.RunEvent]:
    kind, field = _delta(event)
    if kind is None:
        yield event
        return
    for position, character in enumerate(getattr(getattr(event, kind), field)):
        piece = event_pb2.RunEvent()
        piece.CopyFrom(event)
        setattr(getattr(piece, kind), field, character)
        if kind == "text_delta" and position > 0:
            piece.text_delta.ClearField("logprobs")
        yield piece


def _delta(event: event_pb2.RunEvent) -> tuple[str | None, str]:
    match event.WhichOneof("kind"):
        case ("text_delta" | "refusal_delta" | "reasoning_delta") as kind:
            return kind, "text"
        case "tool_arguments_delta" as kind:
            return kind, "arguments"
        case _:
            return None, ""


def _continues(first: event_pb2.RunEvent, second: event_pb2.RunEvent) -> bool:
    kind, field = _delta(first)
    if kind is None or _delta(second)[0] != kind or first.attempt != second.attempt:
        return False
    delta, more = getattr(first, kind), getattr(second, kind)
    keys = [key.name for key in delta.DESCRIPTOR.fields if key.name not in {field, "logprobs"}]
    return all(getattr(delta, key) == getattr(more, key) for key in keys)


def _extend(first: event_pb2.RunEvent, second: event_pb2.RunEvent) -> None:
    kind, field = _delta(first)
    assert kind is not None
    delta, more = getattr(first, kind), getattr(second, kind)
    setattr(delta, field, getattr(delta, field) + getattr(more, field))
    if kind == "text_delta":
        delta.logprobs.extend(more.logprobs)


def _renumbered(events: Iterable[event_pb2.RunEvent]) -> list[event_pb2.RunEvent]:
    numbered = []
    for sequence, event in enumerate(events, start=1):
        copy = event_pb2.RunEvent()
        copy.CopyFrom(event)
        copy.sequence = sequence
        numbered.append(copy)
    return numbered
