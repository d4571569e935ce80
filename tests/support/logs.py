"""Logs of runs for tests: reading and writing them as files, and writing them by hand, event by event."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from breezeway.v1 import event_pb2, item_pb2, run_pb2
from google.protobuf import json_format

LOGS = Path(__file__).parents[1] / "logs"
RUN_ID = "run_019a3e5c7d0070008000000000000001"
START_SECONDS = 1_793_000_000


def log_names() -> list[str]:
    """The names of the kept logs, sorted."""
    return sorted(path.stem for path in LOGS.glob("*.jsonl"))


def read_log(name: str) -> list[event_pb2.RunEvent]:
    """The events of a kept log, in order."""
    # Not splitlines: JSON text may hold U+2028, which that takes for a line's end.
    with (LOGS / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json_format.Parse(line, event_pb2.RunEvent()) for line in lines]


def write_log(name: str, events: Iterable[event_pb2.RunEvent]) -> None:
    """Keep a log under `name`, one event as proto3 JSON a line."""
    lines = (json_format.MessageToJson(event, indent=None, ensure_ascii=False) for event in events)
    (LOGS / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class LogWriter:
    """Writes a legal log: numbers the events, sums up deltas, and completes items with what they got."""

    def __init__(self, run_id: str = RUN_ID) -> None:
        self.run_id = run_id
        self.events: list[event_pb2.RunEvent] = []
        self.attempt = 1
        self._open: dict[str, item_pb2.Item] = {}
        self._items = 0

    @property
    def open_items(self) -> Sequence[item_pb2.Item]:
        """The items that have begun and not ended."""
        return list(self._open.values())

    def add(self, event: event_pb2.RunEvent) -> None:
        """Append an event, filling in its envelope."""
        event.run_id = self.run_id
        event.sequence = len(self.events) + 1
        event.attempt = self.attempt
        milliseconds = 10 * len(self.events)
        event.create_time.seconds = START_SECONDS + milliseconds // 1000
        event.create_time.nanos = milliseconds % 1000 * 1_000_000
        self.events.append(event)

    def queued(self, spec: run_pb2.RunSpec) -> None:
        self.add(event_pb2.RunEvent(run_queued=event_pb2.RunQueued(spec=spec)))

    def started(self) -> None:
        self.add(event_pb2.RunEvent(run_started=event_pb2.RunStarted()))

    def restarted(self) -> None:
        """The server is lost: the next attempt begins, and closes as interrupted what it finds open."""
        self.attempt += 1
        self.started()
        self.close_all(item_pb2.INCOMPLETE_REASON_INTERRUPTED)

    def unknown(self) -> None:
        """An event newer than every reader."""
        self.add(event_pb2.RunEvent())

    def message(self, choice: int = 0) -> str:
        return self._start("msg", item_pb2.Item(message=item_pb2.Message(role=item_pb2.ROLE_ASSISTANT)), choice)

    def reasoning(self, choice: int = 0) -> str:
        return self._start("rs", item_pb2.Item(reasoning=item_pb2.Reasoning()), choice)

    def call(self, name: str, executor: item_pb2.Executor.ValueType, choice: int = 0) -> str:
        call = item_pb2.FunctionCall(name=name, executor=executor, call_id=f"call_{self._items}")
        return self._start("fc", item_pb2.Item(function_call=call), choice)

    def text(self, item_id: str, text: str, part: int = 0, logprobs: Sequence[str] = ()) -> None:
        delta = event_pb2.TextDelta(item_id=item_id, content_index=part, text=text, logprobs=logprobs)
        self.add(event_pb2.RunEvent(text_delta=delta))
        content = self._part(item_id, part).text
        content.text += text
        content.logprobs.extend(logprobs)

    def refusal(self, item_id: str, text: str, part: int = 0) -> None:
        delta = event_pb2.RefusalDelta(item_id=item_id, content_index=part, text=text)
        self.add(event_pb2.RunEvent(refusal_delta=delta))
        self._part(item_id, part).refusal.text += text

    def thought(self, item_id: str, text: str, part: int = 0, *, summary: bool = False) -> None:
        delta = event_pb2.ReasoningDelta(item_id=item_id, part_index=part, text=text, summary=summary)
        self.add(event_pb2.RunEvent(reasoning_delta=delta))
        reasoning = self._open[item_id].reasoning
        parts = reasoning.summary if summary else reasoning.content
        while len(parts) <= part:
            parts.append("")
        parts[part] += text

    def arguments(self, item_id: str, arguments: str) -> None:
        delta = event_pb2.ToolArgumentsDelta(item_id=item_id, arguments=arguments)
        self.add(event_pb2.RunEvent(tool_arguments_delta=delta))
        self._open[item_id].function_call.arguments += arguments

    def progress(self, item_id: str, message: str) -> None:
        progress = event_pb2.ToolProgress(item_id=item_id, message=message)
        self.add(event_pb2.RunEvent(tool_progress=progress))

    def output(self, call_id: str, text: str, *, is_error: bool = False, choice: int = 0) -> None:
        """A call's output, whole."""
        content = [item_pb2.ContentPart(text=item_pb2.Text(text=text))]
        output = item_pb2.FunctionCallOutput(call_id=call_id, content=content, is_error=is_error)
        self.close(self._start("fco", item_pb2.Item(function_call_output=output), choice))

    def approval(
        self, call: item_pb2.FunctionCall, decision: item_pb2.ApprovalDecision.ValueType, choice: int = 0
    ) -> None:
        """Leave is asked for and decided at once."""
        request = item_pb2.ApprovalRequest(call_id=call.call_id, name=call.name, arguments=call.arguments)
        item_id = self._start("apr", item_pb2.Item(approval_request=request), choice)
        self.close(item_id)
        self.add(event_pb2.RunEvent(approval_requested=event_pb2.ApprovalRequested(item_id=item_id)))
        resolved = event_pb2.ApprovalResolved(item_id=item_id, decision=decision)
        self.add(event_pb2.RunEvent(approval_resolved=resolved))

    def model_call(self, usage: run_pb2.Usage, model: str = "scripted-1") -> None:
        completed = event_pb2.ModelCallCompleted(model=model, usage=usage)
        self.add(event_pb2.RunEvent(model_call_completed=completed))

    def close(
        self, item_id: str, reason: item_pb2.IncompleteReason.ValueType = item_pb2.INCOMPLETE_REASON_UNSPECIFIED
    ) -> item_pb2.Item:
        """End an item, early where there is a reason."""
        item = self._open.pop(item_id)
        item.status = item_pb2.ITEM_STATUS_INCOMPLETE if reason else item_pb2.ITEM_STATUS_COMPLETED
        item.incomplete_reason = reason
        self.add(event_pb2.RunEvent(item_completed=event_pb2.ItemCompleted(item=item)))
        return item

    def close_all(self, reason: item_pb2.IncompleteReason.ValueType = item_pb2.INCOMPLETE_REASON_UNSPECIFIED) -> None:
        for item_id in list(self._open):
            self.close(item_id, reason)

    def completed(self, usage: run_pb2.Usage) -> list[event_pb2.RunEvent]:
        self.close_all()
        self.add(event_pb2.RunEvent(run_completed=event_pb2.RunCompleted(usage=usage)))
        return self.events

    def incomplete(self, usage: run_pb2.Usage, reason: item_pb2.IncompleteReason.ValueType) -> list[event_pb2.RunEvent]:
        self.close_all(reason)
        self.add(event_pb2.RunEvent(run_incomplete=event_pb2.RunIncomplete(usage=usage, reason=reason)))
        return self.events

    def failed(self, usage: run_pb2.Usage, error: run_pb2.RunError) -> list[event_pb2.RunEvent]:
        self.close_all(item_pb2.INCOMPLETE_REASON_INTERRUPTED)
        self.add(event_pb2.RunEvent(run_failed=event_pb2.RunFailed(usage=usage, error=error)))
        return self.events

    def cancelled(self, usage: run_pb2.Usage) -> list[event_pb2.RunEvent]:
        self.close_all(item_pb2.INCOMPLETE_REASON_INTERRUPTED)
        self.add(event_pb2.RunEvent(run_cancelled=event_pb2.RunCancelled(usage=usage)))
        return self.events

    def _start(self, prefix: str, item: item_pb2.Item, choice: int) -> str:
        item.id = f"{prefix}_{self.run_id.removeprefix('run_')}{self._items:06x}"
        self._items += 1
        item.status = item_pb2.ITEM_STATUS_IN_PROGRESS
        item.run_id = self.run_id
        item.choice_index = choice
        self.add(event_pb2.RunEvent(item_started=event_pb2.ItemStarted(item=item)))
        self._open[item.id] = item
        return item.id

    def _part(self, item_id: str, index: int) -> item_pb2.ContentPart:
        content = self._open[item_id].message.content
        while len(content) <= index:
            content.add()
        return content[index]
