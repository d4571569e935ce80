"""A run in the words of the runs dialect: its status, and the parts that its stream has in common with that."""

from collections.abc import Iterable
from typing import Any

from breezeway.v1 import item_pb2, run_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from breezeway_shim.dialects.limits import limit_name

_STATUSES = {
    run_pb2.RUN_STATE_QUEUED: "queued",
    run_pb2.RUN_STATE_IN_PROGRESS: "running",
    run_pb2.RUN_STATE_REQUIRES_ACTION: "waiting_for_approval",
    run_pb2.RUN_STATE_COMPLETED: "completed",
    # What is there is sound, and readers of this dialect know no other word for it; `incomplete_reason` says the rest.
    run_pb2.RUN_STATE_INCOMPLETE: "completed",
    run_pb2.RUN_STATE_FAILED: "failed",
    run_pb2.RUN_STATE_CANCELLED: "cancelled",
}


def status_of(run: run_pb2.Run) -> str:
    """Where the run stands."""
    return _STATUSES.get(run.state, "running")


def run_json(run: run_pb2.Run) -> dict[str, Any]:
    """The status of a run; `output` is what its stream has said or will say in `message.delta`."""
    return {
        "object": "run",
        "run_id": run.id,
        "status": status_of(run),
        "model": run.spec.agent,
        "session_id": run.spec.conversation_id or None,
        "created_at": seconds_of(run.create_time),
        "started_at": seconds_of(run.start_time) if run.HasField("start_time") else None,
        "ended_at": seconds_of(run.end_time) if run.HasField("end_time") else None,
        "output": output_text(run.output),
        "usage": usage_json(run.usage),
        "incomplete_reason": limit_of(run),
        "error": run.error.message if run.HasField("error") else None,
        "error_reason": run.error.reason if run.HasField("error") else None,
        "attempt": run.attempt,
        "last_sequence": run.last_sequence,
        "metadata": dict(run.spec.metadata),
    }


def usage_json(usage: run_pb2.Usage) -> dict[str, int]:
    """The usage of a run so far."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cached_tokens": usage.cached_input_tokens,
        "reasoning_tokens": usage.reasoning_output_tokens,
    }


def output_text(items: Iterable[item_pb2.Item]) -> str:
    """All that the first answer says, refusals too: this dialect has no word for the others."""
    return "".join(
        part.text.text + part.refusal.text for item in items if item.choice_index == 0 for part in item.message.content
    )


def limit_of(run: run_pb2.Run) -> str | None:
    """The limit at which the run ended early; None where it did not."""
    return limit_name(run.incomplete_reason) if run.incomplete_reason else None


def seconds_of(time: Timestamp) -> float:
    """Seconds since 1970, to the microsecond."""
    return time.seconds + time.nanos // 1000 / 1e6
