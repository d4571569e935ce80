"""A request of the runs dialect as a run: every parameter is honoured, or refused by name.

| parameter | what becomes of it |
|---|---|
| `input`, `instructions`, `metadata` | honoured |
| `model` | honoured; without one, the agent is chosen as `chosen_agent` says |
| `session_id`, `conversation`, the header `X-Conversation-Id` and its aliases | honoured: names of one conversation |
| `previous_response_id` | honoured, in any spelling of a run's id; refused beside a conversation |
| `conversation_history` | honoured: comes before `input`, in place of what is stored of the past |
| `busy_policy` | honoured, likewise the header `X-Conversation-Busy`: `reject`, `queue` or `interrupt` |
| `max_total_tokens` | honoured: the run ends as incomplete before the model call after that |
| all that is not named here | refused |

Runs of this dialect are always stored, and go on whoever watches them.
"""

from collections.abc import Collection
from typing import NamedTuple

from breezeway.v1 import item_pb2, run_pb2

from breezeway_shim.body import decode, decode_fields
from breezeway_shim.dialects.fields import field_to_param
from breezeway_shim.dialects.headers import RunOptions, busy_policy_of
from breezeway_shim.dialects.runs.schema import APPROVAL, RUN, ApprovalAnswer, RunRequest
from breezeway_shim.errors import FieldToParam, RequestError
from breezeway_shim.openai_items.requested import items_of, user_message

DIALECT = "runs"

DECISIONS = {
    "once": item_pb2.APPROVAL_DECISION_ONCE,
    "session": item_pb2.APPROVAL_DECISION_SESSION,
    "always": item_pb2.APPROVAL_DECISION_ALWAYS,
    "deny": item_pb2.APPROVAL_DECISION_DENY,
}
"""What can be decided about an approval, in the order in which it is offered."""

_PREFERRED_AGENTS = ("assistant", "demo")
_NO_OPTIONS = RunOptions()


class RunCall(NamedTuple):
    """What a request asks of the server; `spec.agent` is empty where the caller leaves the choice to us."""

    spec: run_pb2.RunSpec
    input: list[item_pb2.Item]
    field_to_param: FieldToParam


def parse(body: bytes, options: RunOptions = _NO_OPTIONS) -> RunCall:
    """What the body asks for. Raises `RequestError` naming the parameter at fault."""
    _refuse_unknown(body, RunRequest.__struct_fields__)
    request = decode(RUN, body)
    history = items_of(request.conversation_history or (), "conversation_history")
    conversation_id = _conversation(request, options.conversation_id)
    if conversation_id and request.previous_response_id:
        raise RequestError(
            "Give a conversation or previous_response_id, not both.",
            "previous_response_id",
            code="mutually_exclusive_parameters",
        )
    spec = run_pb2.RunSpec(
        agent=request.model or "",
        conversation_id=conversation_id,
        # What the caller says of the past wins over what is stored of it.
        previous_run_id="" if history else request.previous_response_id or "",
        explicit_history=bool(history and conversation_id),
        instructions=request.instructions or "",
        durability=run_pb2.DURABILITY_LOGGED,
        background=True,
        busy_policy=busy_policy_of(request.busy_policy or "", "busy_policy", "busy_policy") or options.busy_policy,
        metadata=request.metadata or {},
        max_total_tokens=request.max_total_tokens,
        dialect=DIALECT,
    )
    written = request.input
    items = [user_message(written)] if isinstance(written, str) else items_of(written, "input")
    return RunCall(spec, history + items, field_to_param(len(history), input_is_list=isinstance(written, list)))


def chosen_agent(names: Collection[str]) -> str:
    """The agent of a caller who names none: the only one, or else `assistant`, or else `demo`.

    Raises `RequestError` where none of these is among `names`.
    """
    preferred = (name for name in _PREFERRED_AGENTS if name in names)
    if agent := next(iter(names)) if len(names) == 1 else next(preferred, ""):
        return agent
    raise RequestError(
        "model is required: there are several agents, and none is the default. GET /v1/models lists them.",
        "model",
        code="missing_required_parameter",
    )


def parse_approval(body: bytes) -> ApprovalAnswer:
    """What the body decides. Raises `RequestError` naming the parameter at fault."""
    _refuse_unknown(body, ApprovalAnswer.__struct_fields__)
    return decode(APPROVAL, body)


def _refuse_unknown(body: bytes, known: Collection[str]) -> None:
    for name in decode_fields(body):
        if name not in known:
            raise RequestError(f"{name} is not supported here.", name, code="unsupported_parameter")


def _conversation(request: RunRequest, in_header: str) -> str:
    """The conversation that is asked for; empty where none is."""
    named = {name for name in (request.session_id, request.conversation, in_header) if name}
    if len(named) > 1:
        raise RequestError(
            "session_id, conversation and the header X-Conversation-Id name different conversations.",
            "session_id" if request.session_id else "conversation",
            code="invalid_value",
        )
    return named.pop() if named else ""
