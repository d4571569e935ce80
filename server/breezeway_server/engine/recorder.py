"""The recorder: turns an agent's steps into a run's events, and sees to it that what is open gets closed."""

import time
from collections.abc import Callable
from typing import assert_never

from breezeway.v1 import event_pb2, item_pb2, run_pb2

from breezeway_server.agents import steps
from breezeway_server.engine.item_ids import identify
from breezeway_server.engine.watch import Watch
from breezeway_server.events.fold import RunFold
from breezeway_server.events.log import EventLog
from breezeway_server.events.log_store import NewRun
from breezeway_server.events.open_item import OpenItem
from breezeway_server.events.run_log import RunLog
from breezeway_server.events.text_frames import TextFrames

_SECOND = 1_000_000_000  # in nanoseconds
_COMPLETED = item_pb2.ITEM_STATUS_COMPLETED
_INCOMPLETE = item_pb2.ITEM_STATUS_INCOMPLETE
_TOKEN_BUDGET = item_pb2.INCOMPLETE_REASON_TOKEN_BUDGET


class IllegalStep(Exception):
    """The agent said something that cannot be: a fault of the agent."""


def total_tokens(usage: run_pb2.Usage) -> int:
    """Return how many tokens were read and written."""
    return usage.input_tokens + usage.output_tokens


class Recorder:
    """Writes the events of one attempt of one run. Nothing may be recorded after one of the four ends."""

    def __init__(
        self,
        log: EventLog,
        run_log: RunLog,
        fold: RunFold,
        *,
        output_limit: int,
        spend: Callable[[int], None],
        watch: Watch,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`fold` has taken in all events so far; `output_limit` is in bytes; `clock` gives nanoseconds since 1970.

        `spend` is told how many tokens each model call of this attempt has used.
        """
        self._log = log
        self._run_log = run_log
        self._fold = fold
        self._clock = clock
        self._room = output_limit
        self._spend = spend
        self._watch = watch
        self._speaking: dict[int, OpenItem] = {}
        self._frames = TextFrames(fold.run_id, run_log.attempt)
        # By choice: the open part that more text goes on with, and what its frames begin with.
        self._text_parts: dict[int, tuple[OpenItem, int, bytes]] = {}
        self._thinking: dict[tuple[str, bool], int] = {}
        self._calls = {
            item.function_call.call_id: item
            for item in fold.completed
            if item.HasField("function_call") and item.status == _COMPLETED
        }
        self._position = len(fold.input) + fold.begun
        self._limit: item_pb2.IncompleteReason.ValueType | None = None

    def queue(self, new: NewRun) -> None:
        """Record that the run was accepted: its first event."""
        event = event_pb2.RunEvent()
        event.run_queued.spec.CopyFrom(new.spec)
        event.run_queued.traceparent, event.run_queued.tracestate = self._watch.span.carrier
        self._put(event, new)

    def start(self) -> bool:
        """Record that this attempt begins, and close what an attempt before it left open.

        Returns False where the run would ask its model again but has no tokens left: it must not go on.
        """
        self._put(event_pb2.RunEvent(run_started=event_pb2.RunStarted()))
        self._interrupt()
        if self._out_of_tokens() and self._awaits_tools():
            self._limit = _TOKEN_BUDGET
        return self._limit is None

    def record(self, step: steps.Step) -> bool:  # noqa: C901 - one case a step is the simplest form
        """Record a step. Returns False where output or tokens are at their limit: the agent must then be stopped.

        Raises `IllegalStep` where the step cannot be.
        """
        match step:
            case steps.TextDelta():
                self._text(step)
            case steps.ToolArgumentsDelta():
                delta = event_pb2.ToolArgumentsDelta(item_id=self._open_call(step.call_id).id, arguments=step.arguments)
                self._put_delta(event_pb2.RunEvent(tool_arguments_delta=delta), step.arguments)
            case steps.ReasoningDelta():
                self._reasoning(step)
            case steps.RefusalDelta():
                self._refusal(step)
            case steps.ToolCallStarted():
                self._begin_call(step)
            case steps.ToolCallCompleted():
                self._close(self._open_call(step.call_id))
            case steps.ToolProgress():
                progress = event_pb2.ToolProgress(item_id=self._call(step.call_id).id, message=step.message)
                self._put_delta(event_pb2.RunEvent(tool_progress=progress), step.message)
            case steps.ToolCallOutput():
                self._output(step)
            case steps.ModelCallCompleted():
                self._watch.called_model(step.usage)
                ended = event_pb2.ModelCallCompleted(model=step.model, usage=step.usage)
                self._put(event_pb2.RunEvent(model_call_completed=ended))
                self._spend(total_tokens(step.usage))
                if self._out_of_tokens() and not step.last:
                    self._cut_calls()
                    return False
            case steps.ChoiceIncomplete():
                self._cut(step.reason, step.choice_index)
            case _:
                assert_never(step)
        if self._room < 0:
            self._limit = item_pb2.INCOMPLETE_REASON_OUTPUT_LIMIT
            for item in list(self._fold.open):
                self._close(item, self._limit)
            return False
        return True

    def finish(self) -> None:
        """Record that the agent is done: completed, or incomplete where a limit was met."""
        for item in list(self._fold.open):
            self._close(item)
        usage = self._fold.usage
        if self._limit is None:
            self._put(event_pb2.RunEvent(run_completed=event_pb2.RunCompleted(usage=usage)))
        else:
            ended = event_pb2.RunIncomplete(usage=usage, reason=self._limit)
            self._put(event_pb2.RunEvent(run_incomplete=ended))

    def fail(self, error: run_pb2.RunError) -> None:
        """Record that the run broke."""
        self._interrupt()
        self._put(event_pb2.RunEvent(run_failed=event_pb2.RunFailed(usage=self._fold.usage, error=error)))

    def cancel(self) -> None:
        """Record that the run was cancelled."""
        self._interrupt()
        self._put(event_pb2.RunEvent(run_cancelled=event_pb2.RunCancelled(usage=self._fold.usage)))

    def request_approval(self, call_id: str) -> str:
        """Record that a completed call waits for leave; return the id of the request."""
        call = next(
            (item.function_call for item in self._fold.completed if item.function_call.call_id == call_id), None
        )
        if call is None or not call.call_id:
            raise IllegalStep(f"call {call_id} is not complete")
        request = item_pb2.ApprovalRequest(call_id=call_id, name=call.name, arguments=call.arguments)
        begun = self._begin(item_pb2.Item(approval_request=request))
        self._close(begun)
        self._put(event_pb2.RunEvent(approval_requested=event_pb2.ApprovalRequested(item_id=begun.id)))
        return begun.id

    def resolve_approval(self, item_id: str, decision: item_pb2.ApprovalDecision.ValueType, reason: str) -> None:
        """Record what was decided about an open request."""
        resolved = event_pb2.ApprovalResolved(item_id=item_id, decision=decision, reason=reason)
        self._put(event_pb2.RunEvent(approval_resolved=resolved))

    def _text(self, step: steps.TextDelta) -> None:
        if not step.text and not step.logprobs:
            return
        part = self._text_parts.get(step.choice_index)
        if part is None:
            message = self._message(step.choice_index)
            index = message.parts - (message.last_part_is_refusal is False)
            part = message, index, self._frames.delta_head(message.id, index)
        if step.logprobs:
            message, index, _ = part
            delta = event_pb2.TextDelta(item_id=message.id, content_index=index, text=step.text, logprobs=step.logprobs)
            self._put_delta(event_pb2.RunEvent(text_delta=delta), step.text, *step.logprobs)
            return
        self._text_parts[step.choice_index] = part
        message, index, head = part
        written = step.text.encode()
        self._room -= len(written)
        sequence = self._fold.append_text(message, index, step.text)
        if self._run_log.put_delta(sequence, self._frames.frame(sequence, self._clock(), head, written)):
            self._log.due(self._run_log)

    def _refusal(self, step: steps.RefusalDelta) -> None:
        if not step.text:
            return
        message = self._message(step.choice_index)
        index = message.parts - (message.last_part_is_refusal is True)
        delta = event_pb2.RefusalDelta(item_id=message.id, content_index=index, text=step.text)
        self._put_delta(event_pb2.RunEvent(refusal_delta=delta), step.text)

    def _message(self, choice_index: int) -> OpenItem:
        item = self._speaking.get(choice_index)
        if item is None or item.kind != "message":
            message = item_pb2.Message(role=item_pb2.ROLE_ASSISTANT)
            item = self._speak(item_pb2.Item(message=message, choice_index=choice_index))
        return item

    def _reasoning(self, step: steps.ReasoningDelta) -> None:
        if not step.text:
            return
        item = self._speaking.get(step.choice_index)
        if item is None or item.kind != "reasoning":
            reasoning = item_pb2.Reasoning()
            item = self._speak(item_pb2.Item(reasoning=reasoning, choice_index=step.choice_index))
        # What the agent numbers may have begun in an earlier item; parts are numbered within theirs.
        thought = (item.id, step.summary)
        index = item.thoughts(summary=step.summary) - (self._thinking.get(thought) == step.part_index)
        self._thinking[thought] = step.part_index
        delta = event_pb2.ReasoningDelta(item_id=item.id, part_index=index, text=step.text, summary=step.summary)
        self._put_delta(event_pb2.RunEvent(reasoning_delta=delta), step.text)

    def _begin_call(self, step: steps.ToolCallStarted) -> None:
        if step.call_id in self._calls:
            raise IllegalStep(f"call {step.call_id} was begun before")
        self._hush(step.choice_index)
        call = item_pb2.FunctionCall(call_id=step.call_id, name=step.name, executor=step.executor)
        item = item_pb2.Item(function_call=call, choice_index=step.choice_index)
        self._begin(item)
        self._calls[step.call_id] = item

    def _output(self, step: steps.ToolCallOutput) -> None:
        call = self._call(step.call_id)
        if call.function_call.executor != item_pb2.EXECUTOR_SERVER:
            raise IllegalStep(f"call {step.call_id} is for the caller to carry out")
        if any(item.id == call.id for item in self._fold.open):
            raise IllegalStep(f"call {step.call_id} is not whole")
        if step.call_id in self._answered():
            raise IllegalStep(f"call {step.call_id} has its output")
        for choice_index in list(self._speaking):
            # What the model says after a tool has answered is another message.
            self._hush(choice_index)
        output = item_pb2.FunctionCallOutput(call_id=step.call_id, is_error=step.is_error)
        begun = self._begin(item_pb2.Item(function_call_output=output, choice_index=call.choice_index))
        item = begun.close(_COMPLETED, item_pb2.INCOMPLETE_REASON_UNSPECIFIED)
        item.function_call_output.content.extend(step.content)
        self._room -= item.ByteSize()
        self._put(event_pb2.RunEvent(item_completed=event_pb2.ItemCompleted(item=item)))

    def _cut(self, reason: item_pb2.IncompleteReason.ValueType, choice_index: int) -> None:
        self._limit = self._limit or reason
        for item in list(self._fold.open):
            if item.choice_index == choice_index:
                self._close(item, reason)

    def _out_of_tokens(self) -> bool:
        spec = self._fold.spec
        return spec.HasField("max_total_tokens") and total_tokens(self._fold.usage) >= spec.max_total_tokens

    def _awaits_tools(self) -> bool:
        """Whether there is a whole call of a server tool that has no output."""
        answered = self._answered()
        return any(
            call.function_call.executor == item_pb2.EXECUTOR_SERVER and call_id not in answered
            for call_id, call in self._calls.items()
        )

    def _answered(self) -> set[str]:
        """Return which calls have their output."""
        return {item.function_call_output.call_id for item in self._fold.completed}

    def _cut_calls(self) -> None:
        """End for want of tokens: what the model has said is whole, but no call that is still open."""
        self._limit = self._limit or _TOKEN_BUDGET
        for item in list(self._fold.open):
            if item.kind == "function_call":
                self._close(item, _TOKEN_BUDGET)

    def _call(self, call_id: str) -> item_pb2.Item:
        item = self._calls.get(call_id)
        if item is None:
            raise IllegalStep(f"call {call_id} was not begun")
        return item

    def _open_call(self, call_id: str) -> OpenItem:
        return self._fold.opened(self._call(call_id).id)

    def _speak(self, item: item_pb2.Item) -> OpenItem:
        self._hush(item.choice_index)
        begun = self._begin(item)
        self._speaking[item.choice_index] = begun
        return begun

    def _hush(self, choice_index: int) -> None:
        item = self._speaking.get(choice_index)
        if item is not None:
            self._close(item)

    def _begin(self, item: item_pb2.Item) -> OpenItem:
        now = self._clock()
        if not self._fold.begun:
            self._watch.began_to_answer(self._fold, now)
        identify(item, self._fold.run_id, self._position)
        self._position += 1
        item.status = item_pb2.ITEM_STATUS_IN_PROGRESS
        item.create_time.seconds, item.create_time.nanos = divmod(now, _SECOND)
        self._room -= item.ByteSize()
        event = event_pb2.RunEvent()
        event.item_started.item.CopyFrom(item)
        self._put(event)
        return self._fold.opened(item.id)

    def _close(self, item: OpenItem, reason: item_pb2.IncompleteReason.ValueType | None = None) -> None:
        if self._speaking.get(item.choice_index) is item:
            del self._speaking[item.choice_index]
        status = _COMPLETED if reason is None else _INCOMPLETE
        closed = item.close(status, reason or item_pb2.INCOMPLETE_REASON_UNSPECIFIED)
        event = event_pb2.RunEvent()
        event.item_completed.item.CopyFrom(closed)
        self._put(event)

    def _interrupt(self) -> None:
        for item in list(self._fold.open):
            self._close(item, item_pb2.INCOMPLETE_REASON_INTERRUPTED)

    def _put_delta(self, event: event_pb2.RunEvent, *texts: str) -> None:
        self._room -= sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
        self._put(event)

    def _put(self, event: event_pb2.RunEvent, new: NewRun | None = None) -> None:
        # Whatever it is: more text may belong to another part from here on.
        self._text_parts.clear()
        event.run_id = self._fold.run_id
        event.sequence = self._fold.last_sequence + 1
        event.attempt = self._run_log.attempt
        now = event.create_time
        now.seconds, now.nanos = divmod(self._clock(), _SECOND)
        self._fold.apply(event)
        self._log.put(self._run_log, event, self._fold, new)
