"""A run's events as the stream of the runs dialect: pure, one event in, at most one frame out.

So a frame's id is the sequence of its event, and a reader that has N gets all above N.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, assert_never

import msgspec
from breezeway.v1 import event_pb2, item_pb2

from breezeway_shim.dialects.runs.objects import limit_of, output_text, seconds_of, usage_json
from breezeway_shim.dialects.runs.request import DECISIONS
from breezeway_shim.errors import ApiError
from breezeway_shim.fold import RunFold
from breezeway_shim.sse import data_frame

# One line for people, and no more of arguments that may be a whole file.
_PREVIEW_CHARACTERS = 200
_CHOICES = {decision: choice for choice, decision in DECISIONS.items()}
_encode = msgspec.json.Encoder().encode


class _Call(NamedTuple):
    """A call of a tool that has begun."""

    name: str
    began: float


def error_frames(error: ApiError) -> list[bytes]:
    """The end of a stream that cannot go on: the run may, and can be followed again from the last id."""
    return [data_frame(_encode({"event": "error", "code": error.code, "error": error.message}))]


class RunsProjection:
    """Takes a run's events in order, from the first, and returns the frames each gives rise to."""

    def __init__(self) -> None:
        self._fold = RunFold()
        # Of the server's calls, by call_id and by the item's id.
        self._calls: dict[str, _Call] = {}
        self._names: dict[str, str] = {}
        self._other_answers: set[str] = set()
        self._delta_head = b""

    def add(self, event: event_pb2.RunEvent) -> list[bytes]:
        """Take in the next event."""
        if event.HasField("text_delta"):
            return self._delta(event, event.text_delta)
        if event.HasField("refusal_delta"):
            return self._delta(event, event.refusal_delta)
        fields = self._fields(event)
        if fields is None:
            return []
        name, data = fields
        common = {"event": name, "run_id": event.run_id, "timestamp": seconds_of(event.create_time)}
        return [b"id: %d\n" % event.sequence + data_frame(_encode({**common, **data}))]

    def _fields(  # noqa: C901  one case a kind is the simplest form
        self, event: event_pb2.RunEvent
    ) -> tuple[str, Mapping[str, Any]] | None:
        self._fold.add(event)
        run = self._fold.run
        match kind := event.WhichOneof("kind"):
            case "item_started":
                self._begin(event.item_started.item)
                return None
            case "item_completed":
                return self._completed(event.item_completed.item, seconds_of(event.create_time))
            case "tool_progress":
                progress = event.tool_progress
                return "tool.progress", {"tool": self._names.get(progress.item_id, ""), "message": progress.message}
            case "run_started":
                return "run.started", {"attempt": event.attempt}
            case "approval_requested":
                return self._approval(event.approval_requested.item_id)
            case "approval_resolved":
                resolved = event.approval_resolved
                choice = _CHOICES.get(resolved.decision, "unknown")
                reason = resolved.reason or None
                return "approval.responded", {"approval_id": resolved.item_id, "choice": choice, "reason": reason}
            case "run_completed" | "run_incomplete":
                output = {"output": output_text(run.output), "usage": usage_json(run.usage)}
                return "run.completed", {**output, "incomplete_reason": limit_of(run)}
            case "run_failed":
                error = {"error": run.error.message, "error_reason": run.error.reason}
                return "run.failed", {**error, "usage": usage_json(run.usage)}
            case "run_cancelled":
                return "run.cancelled", {"usage": usage_json(run.usage)}
            case "run_queued" | "model_call_completed" | "reasoning_delta" | "tool_arguments_delta" | None:
                return None
            case "text_delta" | "refusal_delta":
                return None  # Theirs is the shorter way.
            case _:
                assert_never(kind)

    def _delta(self, event: event_pb2.RunEvent, delta: event_pb2.TextDelta | event_pb2.RefusalDelta) -> list[bytes]:
        """The frame that there is most of: nothing in it changes but three values."""
        if delta.item_id in self._other_answers:
            return []
        if not self._delta_head:
            head = _encode({"event": "message.delta", "run_id": event.run_id}).removesuffix(b"}")
            self._delta_head = b"\ndata: " + head + b',"timestamp":'
        values = (event.sequence, self._delta_head, _encode(seconds_of(event.create_time)), _encode(delta.text))
        return [b'id: %d%b%b,"delta":%b}\n\n' % values]

    def _begin(self, item: item_pb2.Item) -> None:
        if item.choice_index:
            self._other_answers.add(item.id)
        if item.HasField("function_call"):
            self._names[item.id] = item.function_call.name

    def _completed(self, item: item_pb2.Item, now: float) -> tuple[str, Mapping[str, Any]] | None:
        if item.choice_index:
            return None
        match item.WhichOneof("kind"):
            case "function_call":
                return self._called(item.function_call, now, whole=item.status == item_pb2.ITEM_STATUS_COMPLETED)
            case "function_call_output":
                output = item.function_call_output
                call = self._calls.get(output.call_id)
                return "tool.completed", {
                    "tool": call.name if call else "",
                    "call_id": output.call_id,
                    "duration": round(now - call.began, 6) if call else None,
                    "error": output.is_error,
                }
            case "reasoning":
                text = "\n\n".join((*item.reasoning.summary, *item.reasoning.content))
                return ("reasoning.available", {"text": text}) if text else None
            case _:
                return None

    def _called(self, call: item_pb2.FunctionCall, now: float, *, whole: bool) -> tuple[str, Mapping[str, Any]] | None:
        # A call that was cut off is not carried out.
        if not whole:
            return None
        if call.executor != item_pb2.EXECUTOR_SERVER:
            # The caller's own tools come with runs of other dialects; theirs to carry out, with all arguments.
            fields = {"tool": call.name, "call_id": call.call_id, "arguments": call.arguments}
            return "tool.requested", fields
        self._calls[call.call_id] = _Call(call.name, now)
        preview = call.arguments[:_PREVIEW_CHARACTERS]
        return "tool.started", {"tool": call.name, "call_id": call.call_id, "preview": preview}

    def _approval(self, item_id: str) -> tuple[str, Mapping[str, Any]]:
        request = next(item.approval_request for item in self._fold.run.output if item.id == item_id)
        return "approval.request", {
            "approval_id": item_id,
            "tool": request.name,
            "call_id": request.call_id,
            "arguments": request.arguments,
            "choices": list(DECISIONS),
        }
