"""Items as callers write them, as proto; in a request's input, and where they are added to a conversation."""

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from breezeway.v1 import item_pb2

from breezeway_shim.dialects.content import PartKind, content_parts
from breezeway_shim.errors import RequestError

T = TypeVar("T")

_ROLES = {
    "user": item_pb2.ROLE_USER,
    "assistant": item_pb2.ROLE_ASSISTANT,
    "system": item_pb2.ROLE_SYSTEM,
    "developer": item_pb2.ROLE_DEVELOPER,
}
_ALL: frozenset[PartKind] = frozenset({"text", "image", "file"})
_WRITTEN: frozenset[PartKind] = frozenset({"text", "refusal"})


class ReasoningText(msgspec.Struct):
    """A part of a thought or of its summary."""

    text: str


class RequestedItem(msgspec.Struct):
    """Any of the items that a caller may send; which fields it must have depends on its type.

    Messages need no type. Ids and statuses are the server's to give, and not kept.
    """

    type: str | None = None
    id: str | None = None
    role: str | None = None
    # Of a message: a string or parts. Of a thought: its parts.
    content: Any = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: Any = None
    summary: list[ReasoningText] | None = None
    encrypted_content: str | None = None
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None


def items_of(requested: Iterable[RequestedItem], path: str) -> list[item_pb2.Item]:
    """The items in their order. Raises `RequestError` whose `param` names the item below `path`."""
    return [_item(item, f"{path}[{index}]") for index, item in enumerate(requested)]


def user_message(text: str) -> item_pb2.Item:
    """What a plain string stands for: one message of the user."""
    part = item_pb2.ContentPart(text=item_pb2.Text(text=text))
    return item_pb2.Item(message=item_pb2.Message(role=item_pb2.ROLE_USER, content=[part]))


def _item(item: RequestedItem, path: str) -> item_pb2.Item:
    match item.type:
        case "message" | None if item.role is not None:
            return item_pb2.Item(message=_message(item, item.role, path))
        case "item_reference" | None if item.id is not None:
            return item_pb2.Item(item_reference=item_pb2.ItemReference(id=item.id))
        case "function_call":
            call = item_pb2.FunctionCall(
                call_id=_required(item.call_id, path, "call_id"),
                name=_required(item.name, path, "name"),
                arguments=_required(item.arguments, path, "arguments"),
                executor=item_pb2.EXECUTOR_CLIENT,
            )
            return item_pb2.Item(function_call=call)
        case "function_call_output":
            output = item_pb2.FunctionCallOutput(
                call_id=_required(item.call_id, path, "call_id"),
                content=content_parts(_required(item.output, path, "output"), f"{path}.output", _ALL),
            )
            return item_pb2.Item(function_call_output=output)
        case "reasoning":
            return item_pb2.Item(reasoning=_reasoning(item, path))
        case "mcp_approval_request":
            request = item_pb2.ApprovalRequest(
                name=_required(item.name, path, "name"), arguments=_required(item.arguments, path, "arguments")
            )
            return item_pb2.Item(approval_request=request)
        case "mcp_approval_response":
            approve = _required(item.approve, path, "approve")
            response = item_pb2.ApprovalResponse(
                approval_request_id=_required(item.approval_request_id, path, "approval_request_id"),
                decision=item_pb2.APPROVAL_DECISION_ONCE if approve else item_pb2.APPROVAL_DECISION_DENY,
                reason=item.reason or "",
            )
            return item_pb2.Item(approval_response=response)
        case "message" | None:
            raise _missing(path, "role")
        case "item_reference":
            raise _missing(path, "id")
        case other:
            raise RequestError(
                f"{path}: an item of type {other!r} is not supported here.", f"{path}.type", code="unsupported_value"
            )


def _message(item: RequestedItem, role: str, path: str) -> item_pb2.Message:
    if role not in _ROLES:
        raise RequestError(
            f"{path}.role is {role!r}; it must be user, assistant, system or developer.",
            f"{path}.role",
            code="invalid_value",
        )
    allowed = _WRITTEN if role == "assistant" else _ALL
    content = content_parts(_required(item.content, path, "content"), f"{path}.content", allowed)
    return item_pb2.Message(role=_ROLES[role], content=content, name=item.name or "")


def _reasoning(item: RequestedItem, path: str) -> item_pb2.Reasoning:
    try:
        content = msgspec.convert(item.content or [], list[ReasoningText])
    except msgspec.ValidationError as error:
        raise RequestError(
            f"{path}.content must be a list of parts of type reasoning_text.", f"{path}.content", code="invalid_type"
        ) from error
    return item_pb2.Reasoning(
        summary=[part.text for part in item.summary or ()],
        content=[part.text for part in content],
        encrypted_content=item.encrypted_content or "",
    )


def _required(value: T | None, path: str, name: str) -> T:
    if value is None:
        raise _missing(path, name)
    return value


def _missing(path: str, name: str) -> RequestError:
    return RequestError(f"{path}.{name} is required.", f"{path}.{name}", code="missing_required_parameter")
