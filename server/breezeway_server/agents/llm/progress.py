"""How far a run is, read from its completed items: the loop keeps no other books, so it can go on after a crash."""

from collections.abc import Sequence
from typing import NamedTuple

from breezeway.v1 import item_pb2

# An empty set is of no small size, and would be there for each run that waits for its model.
_NO_IDS: frozenset[str] = frozenset()

# Leave is asked for while other calls of the same round are at work.
_ASIDES = {"approval_request", "approval_response"}


class Progress(NamedTuple):
    """Where the loop stands.

    `pending`: whole calls of the agent's own tools that have no output. `waits_for_caller`: a call of the caller's tool
    is whole. `rounds`: how often tools have run. `tool_calls`: how many of the agent's own calls have an output.
    `call_ids`: all that the run has used.
    """

    pending: Sequence[item_pb2.FunctionCall]
    waits_for_caller: bool
    rounds: int
    tool_calls: int
    call_ids: frozenset[str]


def progress_of(output: Sequence[item_pb2.Item]) -> Progress:
    """The progress of a run with this output. Calls that were cut are as if the model had not made them."""
    answered: set[str] = set()
    calls: list[item_pb2.FunctionCall] = []
    call_ids: set[str] = set()
    rounds = 0
    in_round = False
    for item in output:
        kind = item.WhichOneof("kind")
        if kind in _ASIDES:
            continue
        if kind == "function_call":
            call_ids.add(item.function_call.call_id)
            if item.status == item_pb2.ITEM_STATUS_COMPLETED:
                calls.append(item.function_call)
        elif kind == "function_call_output":
            answered.add(item.function_call_output.call_id)
        # Outputs in a row belong to one round: the model was asked once for all of them.
        if kind == "function_call_output" and not in_round:
            rounds += 1
        in_round = kind == "function_call_output"
    pending = [call for call in calls if call.executor == item_pb2.EXECUTOR_SERVER and call.call_id not in answered]
    waits = any(call.executor == item_pb2.EXECUTOR_CLIENT for call in calls)
    return Progress(pending, waits, rounds, len(answered), frozenset(call_ids) or _NO_IDS)


def ended(output: Sequence[item_pb2.Item]) -> item_pb2.IncompleteReason.ValueType | None:
    """Whether an earlier attempt had the whole answer and was lost before it could say so.

    None: it had not. UNSPECIFIED: it had. Any other reason: its answer had ended early for it.
    """
    if not output or output[-1].WhichOneof("kind") != "message":
        return None
    last = output[-1]
    if last.status == item_pb2.ITEM_STATUS_COMPLETED:
        # A message is completed by what follows it or by the end, and nothing follows.
        return item_pb2.INCOMPLETE_REASON_UNSPECIFIED
    if last.incomplete_reason in {item_pb2.INCOMPLETE_REASON_INTERRUPTED, item_pb2.INCOMPLETE_REASON_UNSPECIFIED}:
        return None
    return last.incomplete_reason
