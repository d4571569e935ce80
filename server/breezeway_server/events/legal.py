"""The table of legal events: what may happen in which state of a run, and the state after it."""

from typing import Final

from breezeway.v1 import run_pb2

TERMINAL_STATES: Final = frozenset(
    {
        run_pb2.RUN_STATE_COMPLETED,
        run_pb2.RUN_STATE_INCOMPLETE,
        run_pb2.RUN_STATE_FAILED,
        run_pb2.RUN_STATE_CANCELLED,
    }
)

TERMINAL_KINDS: Final = frozenset({"run_completed", "run_incomplete", "run_failed", "run_cancelled"})

# Kinds that a reader who only collects does not need (StreamDetail.ITEMS leaves them out).
DELTA_KINDS: Final = frozenset(
    {
        "text_delta",
        "reasoning_delta",
        "tool_arguments_delta",
        "refusal_delta",
        "tool_progress",
    }
)

_NEW = run_pb2.RUN_STATE_UNSPECIFIED
_QUEUED = run_pb2.RUN_STATE_QUEUED
_RUNNING = run_pb2.RUN_STATE_IN_PROGRESS
_WAITING = run_pb2.RUN_STATE_REQUIRES_ACTION

_WORK: Final = (*sorted(DELTA_KINDS), "item_started", "item_completed", "model_call_completed")

TRANSITIONS: Final[dict[tuple[run_pb2.RunState.ValueType, str], run_pb2.RunState.ValueType]] = {
    (_NEW, "run_queued"): _QUEUED,
    (_QUEUED, "run_started"): _RUNNING,
    (_QUEUED, "run_failed"): run_pb2.RUN_STATE_FAILED,
    (_QUEUED, "run_cancelled"): run_pb2.RUN_STATE_CANCELLED,
    **{(_RUNNING, kind): _RUNNING for kind in _WORK},
    # Calls that need no leave go on while others wait for it.
    **{(_WAITING, kind): _WAITING for kind in _WORK},
    # A new attempt.
    (_RUNNING, "run_started"): _RUNNING,
    (_WAITING, "run_started"): _WAITING,
    (_RUNNING, "approval_requested"): _WAITING,
    (_WAITING, "approval_requested"): _WAITING,
    # The fold stays in REQUIRES_ACTION while another approval is open.
    (_WAITING, "approval_resolved"): _RUNNING,
    (_RUNNING, "run_completed"): run_pb2.RUN_STATE_COMPLETED,
    (_RUNNING, "run_incomplete"): run_pb2.RUN_STATE_INCOMPLETE,
    (_RUNNING, "run_failed"): run_pb2.RUN_STATE_FAILED,
    (_RUNNING, "run_cancelled"): run_pb2.RUN_STATE_CANCELLED,
    # Its agent may come to its end, or to a limit, and not wait for what it asked.
    (_WAITING, "run_completed"): run_pb2.RUN_STATE_COMPLETED,
    (_WAITING, "run_incomplete"): run_pb2.RUN_STATE_INCOMPLETE,
    (_WAITING, "run_failed"): run_pb2.RUN_STATE_FAILED,
    (_WAITING, "run_cancelled"): run_pb2.RUN_STATE_CANCELLED,
}


class IllegalEvent(Exception):
    """The event may not come here: a fault of whoever wrote it."""
