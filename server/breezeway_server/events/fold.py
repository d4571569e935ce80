"""The fold: from the events of a run, in order, to the run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import assert_never

from breezeway.telemetry.traces import NOWHERE, Carrier
from breezeway.v1 import event_pb2, item_pb2, run_pb2

from breezeway_server.events.legal import TERMINAL_STATES, TRANSITIONS, IllegalEvent
from breezeway_server.events.open_item import OpenItem

_SPEAKING = frozenset(state for state, kind in TRANSITIONS if kind == "text_delta")


def add_usage(total: run_pb2.Usage, more: run_pb2.Usage) -> None:
    """Add `more` to `total`, field by field; a call that reports nothing else counts as one model call."""
    total.input_tokens += more.input_tokens
    total.cached_input_tokens += more.cached_input_tokens
    total.cache_write_input_tokens += more.cache_write_input_tokens
    total.output_tokens += more.output_tokens
    total.reasoning_output_tokens += more.reasoning_output_tokens
    total.model_calls += max(more.model_calls, 1)


class RunFold:
    """A run, as its events so far tell it. Raises `IllegalEvent` where an event may not come."""

    __slots__ = ("_approvals", "_items", "_last_sequence", "_run", "_state", "carrier", "run_id", "spec")

    def __init__(self, run_id: str, input_items: Iterable[item_pb2.Item] = ()) -> None:
        self.run_id = run_id
        """The run's id."""
        self._run = run_pb2.Run(id=run_id, input=input_items)
        self.spec = self._run.spec
        """What was asked for."""
        self._items: dict[str, OpenItem | item_pb2.Item] = {}
        self._approvals: dict[str, event_pb2.ApprovalResolved | None] = {}
        # Apart from the run, because both are asked for with every delta.
        self._state: run_pb2.RunState.ValueType = run_pb2.RUN_STATE_UNSPECIFIED
        self._last_sequence = 0
        self.carrier = NOWHERE
        """Where in a trace the run stands, as its first event tells it."""

    @property
    def state(self) -> run_pb2.RunState.ValueType:
        """Where the run stands; UNSPECIFIED before its first event."""
        return self._state

    @property
    def over(self) -> bool:
        """Whether the terminal event has come."""
        return self._state in TERMINAL_STATES

    @property
    def usage(self) -> run_pb2.Usage:
        """The sum over the model calls so far."""
        return self._run.usage

    @property
    def error(self) -> run_pb2.RunError:
        """Why it failed; empty where it did not."""
        return self._run.error

    @property
    def create_time_ns(self) -> int:
        """When it was accepted, in ns since 1970; 0 before its first event."""
        return self._run.create_time.ToNanoseconds()

    @property
    def end_time_ns(self) -> int:
        """When it ended, likewise; 0 before."""
        return self._run.end_time.ToNanoseconds()

    @property
    def attempt(self) -> int:
        """The attempt that wrote the newest event; 0 before the first."""
        return self._run.attempt

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest event; 0 before the first."""
        return self._last_sequence

    @property
    def input(self) -> Sequence[item_pb2.Item]:
        """What the caller put in."""
        return self._run.input

    @property
    def begun(self) -> int:
        """How many items have begun."""
        return len(self._items)

    @property
    def completed(self) -> list[item_pb2.Item]:
        """The items that have ended, in the order in which they began."""
        return [item for item in self._items.values() if isinstance(item, item_pb2.Item)]

    @property
    def open(self) -> Iterator[OpenItem]:
        """The items that have not, likewise."""
        return (item for item in self._items.values() if isinstance(item, OpenItem))

    @property
    def approvals(self) -> Mapping[str, event_pb2.ApprovalResolved | None]:
        """What was decided, by the ids of the approval requests; None for those that wait."""
        return self._approvals

    def opened(self, item_id: str) -> OpenItem:
        """Return the open item of that id. Raises `IllegalEvent` where none is."""
        item = self._items.get(item_id)
        if not isinstance(item, OpenItem):
            raise IllegalEvent(f"{self.run_id}: item {item_id} is not open")
        return item

    def annotate(self, metadata: Mapping[str, str]) -> None:
        """Replace the caller's notes, which alone of a run may change without an event."""
        self.spec.metadata.clear()
        self.spec.metadata.update(metadata)

    def head(self) -> run_pb2.Run:
        """Return the run without what was asked for, put in and brought forth; the caller owns it."""
        run = self._copy()
        for field in ("spec", "input", "output"):
            run.ClearField(field)
        return run

    def snapshot(self) -> run_pb2.Run:
        """Return the run as it is now, open items with what they have; the caller owns it."""
        run = self._copy()
        for item in self._items.values():
            run.output.append(item.snapshot() if isinstance(item, OpenItem) else item)
        return run

    def _copy(self) -> run_pb2.Run:
        run = run_pb2.Run()
        run.CopyFrom(self._run)
        run.state = self._state
        run.last_sequence = self._last_sequence
        return run

    def apply(self, event: event_pb2.RunEvent) -> None:
        """Take in the next event."""
        run = self._run
        sequence, attempt = event.sequence, event.attempt
        if sequence != self._last_sequence + 1:
            raise IllegalEvent(f"{run.id}: event {sequence} came after {self._last_sequence}")
        if attempt < run.attempt:
            raise IllegalEvent(f"{run.id}: attempt {attempt} wrote after {run.attempt}")
        kind = event.WhichOneof("kind")
        if kind is None:
            # Newer than this reader, but even so neither the first event nor one after the last.
            if self.over or self._state == run_pb2.RUN_STATE_UNSPECIFIED:
                raise IllegalEvent(f"{run.id}: an event may not come in {run_pb2.RunState.Name(self._state)}")
        else:
            state = TRANSITIONS.get((self._state, kind))
            if state is None:
                raise IllegalEvent(f"{run.id}: {kind} may not come in {run_pb2.RunState.Name(self._state)}")
            self._apply_kind(event)
            still_waits = kind == "approval_resolved" and None in self._approvals.values()
            self._state = run_pb2.RUN_STATE_REQUIRES_ACTION if still_waits else state
        self._last_sequence = sequence
        run.attempt = attempt

    def append_text(self, item: OpenItem, content_index: int, text: str) -> int:
        """Take in more text of an open message as the next event of this attempt; return that event's sequence.

        The same as `apply` with a TextDelta, without the event: for the kind that there is most of.
        """
        if self._state not in _SPEAKING:
            raise IllegalEvent(f"{self.run_id}: text_delta may not come in {run_pb2.RunState.Name(self._state)}")
        item.append_text(content_index, text)
        self._last_sequence += 1
        return self._last_sequence

    def _apply_kind(self, event: event_pb2.RunEvent) -> None:  # noqa: C901 - one case a kind is the simplest form
        run = self._run
        match kind := event.WhichOneof("kind"):
            case None:
                pass
            case "text_delta":
                self.opened(event.text_delta.item_id).add_text(event.text_delta)
            case "refusal_delta":
                self.opened(event.refusal_delta.item_id).add_refusal(event.refusal_delta)
            case "reasoning_delta":
                self.opened(event.reasoning_delta.item_id).add_reasoning(event.reasoning_delta)
            case "tool_arguments_delta":
                self.opened(event.tool_arguments_delta.item_id).add_arguments(event.tool_arguments_delta)
            case "item_started":
                item = event.item_started.item
                if item.id in self._items:
                    raise IllegalEvent(f"{run.id}: item {item.id} was begun before")
                self._items[item.id] = OpenItem(item)
            case "item_completed":
                item = event.item_completed.item
                self.opened(item.id)
                self._items[item.id] = item
            case "tool_progress":
                pass  # News for whoever watches; nothing of it stays.
            case "run_queued":
                self.spec.CopyFrom(event.run_queued.spec)
                self.carrier = Carrier(event.run_queued.traceparent, event.run_queued.tracestate)
                run.create_time.CopyFrom(event.create_time)
            case "run_started":
                if event.attempt <= run.attempt and run.HasField("start_time"):
                    raise IllegalEvent(f"{run.id}: attempt {event.attempt} began twice")
                if not run.HasField("start_time"):
                    run.start_time.CopyFrom(event.create_time)
            case "model_call_completed":
                add_usage(run.usage, event.model_call_completed.usage)
            case "approval_requested":
                self._approvals[event.approval_requested.item_id] = None
            case "approval_resolved":
                resolved = event.approval_resolved
                if self._approvals.get(resolved.item_id, resolved) is not None:
                    raise IllegalEvent(f"{run.id}: no approval {resolved.item_id} is open")
                self._approvals[resolved.item_id] = resolved
            case "run_completed":
                self._end(event, event.run_completed.usage)
            case "run_incomplete":
                self._end(event, event.run_incomplete.usage)
                run.incomplete_reason = event.run_incomplete.reason
            case "run_failed":
                self._end(event, event.run_failed.usage)
                run.error.CopyFrom(event.run_failed.error)
            case "run_cancelled":
                self._end(event, event.run_cancelled.usage)
            case _:
                assert_never(kind)

    def _end(self, event: event_pb2.RunEvent, usage: run_pb2.Usage) -> None:
        for item in self.open:
            raise IllegalEvent(f"{self.run_id}: ended while {item.id} was open")
        self._run.usage.CopyFrom(usage)
        self._run.end_time.CopyFrom(event.create_time)


def fold(run_id: str, events: Iterable[event_pb2.RunEvent], input_items: Iterable[item_pb2.Item] = ()) -> RunFold:
    """Return the fold of a whole log."""
    folded = RunFold(run_id, input_items)
    for event in events:
        folded.apply(event)
    return folded
