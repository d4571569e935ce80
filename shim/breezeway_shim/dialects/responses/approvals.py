"""Approvals that a request decides: `mcp_approval_response` items in its input, for a run that waits for them.

Such a request asks for no new run. What it says of the run beside its decisions must be what the run was created with:
clients of OpenAI's API repeat their parameters with every request, and none may be ignored in silence.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from breezeway.v1 import item_pb2, run_pb2
from google.protobuf.message import Message

from breezeway_shim.dialects.responses.schema import ResponseRequest
from breezeway_shim.errors import REASONS, ApiError, FieldToParam, RequestError
from breezeway_shim.ids import response_id, run_id_in

# What they say is of this request and not of the run, or is checked by itself.
_APART = frozenset(("agent", "previous_run_id", "background", "dialect"))


class Decisions(NamedTuple):
    """What is decided of one run; the decision at `index` is that of `input[index]`."""

    run_id: str
    responses: Sequence[item_pb2.ApprovalResponse]


def decisions_of(request: ResponseRequest, items: Sequence[item_pb2.Item]) -> Decisions | None:
    """What the input decides; None where it decides nothing. Raises `ApiError` naming the item at fault."""
    responses = [item.approval_response for item in items if item.HasField("approval_response")]
    if not responses:
        return None
    for index, item in enumerate(items):
        if not item.HasField("approval_response"):
            raise RequestError(
                "Approvals are decided by a request of their own; send what else there is to say in another.",
                f"input[{index}]",
                code="invalid_value",
            )
    if request.conversation_history:
        raise RequestError(
            "Give conversation_history or approvals, not both: the response that waits has its history.",
            "conversation_history",
            code="mutually_exclusive_parameters",
        )
    run_id = _only_run(responses)
    previous = request.previous_response_id
    if previous and response_id(previous) != response_id(run_id):
        raise RequestError(
            f"The approvals belong to {response_id(run_id)}, and previous_response_id names another response.",
            "previous_response_id",
            code="invalid_value",
        )
    return Decisions(run_id, responses)


def _only_run(responses: Sequence[item_pb2.ApprovalResponse]) -> str:
    """The run that all of them are about, each about another request."""
    ids = [response.approval_request_id for response in responses]
    run_ids = []
    for index, request_id in enumerate(ids):
        run_id = run_id_in(request_id)
        if run_id is None:
            raise approval_not_found(request_id, index)
        run_ids.append(run_id)
        if run_id != run_ids[0]:
            message = "The approvals belong to several responses; decide those of one."
            raise RequestError(message, _path(index), code="invalid_value")
        if request_id in ids[:index]:
            raise RequestError("The approval is decided twice here.", _path(index), code="invalid_value")
    return run_ids[0]


def approval_not_found(request_id: str, index: int) -> ApiError:
    """The answer to a decision about what nobody asked."""
    kind = REASONS["APPROVAL_NOT_FOUND"]
    message = f"There is no approval {request_id[:64]!r} to decide."
    return ApiError(kind.status, kind.type, kind.code, message, _path(index))


def decision_param(index: int) -> FieldToParam:
    """The way back from the fields of ResolveApproval to the item at `index`."""
    names = {"reason": "reason", "decision": "approve"}
    return lambda field: f"input[{index}].{names.get(field, 'approval_request_id')}"


def refuse_changes(asked: run_pb2.RunSpec, there: run_pb2.RunSpec, field_to_param: FieldToParam) -> None:
    """Raise `RequestError` for the first of the things that are asked for which the run was not created with."""
    field = _first_change(asked, there)
    if field is not None:
        param = field_to_param(f"spec.{field}")
        raise RequestError(
            f"{param} is not what the response was created with; leave it out, or send it as it was.",
            param,
            code="invalid_value",
        )


def _first_change(said: Message, there: Message, path: str = "") -> str | None:
    """The path of the first thing that is set in `said` and is otherwise in `there`."""
    for field, value in said.ListFields():
        place, held = f"{path}{field.name}", getattr(there, field.name)
        if place in _APART:
            continue
        if isinstance(value, Mapping):
            changed = next((key for key in value if held.get(key) != value[key]), None)
            if changed is not None:
                return f"{place}.{changed}"
        elif isinstance(value, Message):
            if field.containing_oneof is not None and not there.HasField(field.name):
                return path.removesuffix(".")
            below = _first_change(value, held, f"{place}.")
            if below is not None:
                return below
        elif value != held or (field.has_presence and not there.HasField(field.name)):
            return place
    return None


def _path(index: int) -> str:
    return f"input[{index}].approval_request_id"
