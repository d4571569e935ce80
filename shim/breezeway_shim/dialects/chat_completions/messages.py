"""Messages of a chat to items, with the place that each item came from."""

from collections.abc import Iterable
from typing import NamedTuple

from breezeway.v1 import item_pb2

from breezeway_shim.dialects.chat_completions.schema import ChatMessage
from breezeway_shim.dialects.content import PartKind, content_parts
from breezeway_shim.errors import RequestError

_TEXT: frozenset[PartKind] = frozenset({"text"})
_USER: frozenset[PartKind] = frozenset({"text", "image", "file"})
_ASSISTANT: frozenset[PartKind] = frozenset({"text", "refusal"})


class SourcedItem(NamedTuple):
    """An item, and the path of what it was made from, e.g. `messages[2].tool_calls[0]`."""

    item: item_pb2.Item
    path: str


def items_of(messages: Iterable[ChatMessage]) -> list[SourcedItem]:
    """Return the items in the order of the messages. Raises `RequestError` naming the message at fault."""
    items: list[SourcedItem] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        match message.role:
            case "system":
                items.append(_said(message, path, item_pb2.ROLE_SYSTEM, _TEXT))
            case "developer":
                items.append(_said(message, path, item_pb2.ROLE_DEVELOPER, _TEXT))
            case "user":
                items.append(_said(message, path, item_pb2.ROLE_USER, _USER))
            case "assistant":
                items.extend(_assistant(message, path))
            case "tool":
                items.append(_tool_output(message, path))
            case "function":
                raise RequestError(
                    f"{path}: messages of role 'function' are not supported; use role 'tool' with tool_call_id.",
                    f"{path}.role",
                    code="unsupported_value",
                )
            case role:
                raise RequestError(
                    f"{path}.role is {role!r}; it must be system, developer, user, assistant or tool.",
                    f"{path}.role",
                    code="invalid_value",
                )
    return items


def _said(message: ChatMessage, path: str, role: item_pb2.Role.ValueType, allowed: frozenset[PartKind]) -> SourcedItem:
    if message.content is None:
        raise RequestError(f"{path} has no content.", f"{path}.content", code="invalid_content_part")
    content = content_parts(message.content, f"{path}.content", allowed)
    said = item_pb2.Message(role=role, content=content, name=message.name or "")
    return SourcedItem(item_pb2.Item(message=said), path)


def _assistant(message: ChatMessage, path: str) -> list[SourcedItem]:
    for field in ("function_call", "audio"):
        if getattr(message, field) is not None:
            raise RequestError(f"{path}.{field} is not supported.", f"{path}.{field}", code="unsupported_parameter")
    items: list[SourcedItem] = []
    if message.reasoning_content:
        reasoning = item_pb2.Reasoning(content=[message.reasoning_content])
        items.append(SourcedItem(item_pb2.Item(reasoning=reasoning), f"{path}.reasoning_content"))
    content = content_parts(message.content, f"{path}.content", _ASSISTANT)
    if message.refusal:
        content.append(item_pb2.ContentPart(refusal=item_pb2.Refusal(text=message.refusal)))
    calls = message.tool_calls or []
    # Beside calls, clients write "nothing was said" as null, as "" and as an empty list.
    if any(part.text.text or part.HasField("refusal") for part in content) or (content and not calls):
        said = item_pb2.Message(role=item_pb2.ROLE_ASSISTANT, content=content, name=message.name or "")
        items.append(SourcedItem(item_pb2.Item(message=said), path))
    for index, call in enumerate(calls):
        call_path = f"{path}.tool_calls[{index}]"
        if call.type != "function" or call.function is None:
            raise RequestError(
                f"{call_path}: only calls of functions are supported.", f"{call_path}.type", code="unsupported_value"
            )
        function_call = item_pb2.FunctionCall(
            call_id=call.id,
            name=call.function.name,
            arguments=call.function.arguments,
            executor=item_pb2.EXECUTOR_CLIENT,
        )
        items.append(SourcedItem(item_pb2.Item(function_call=function_call), call_path))
    if not items:
        raise RequestError(
            f"{path} has neither content nor tool_calls.", f"{path}.content", code="invalid_content_part"
        )
    return items


def _tool_output(message: ChatMessage, path: str) -> SourcedItem:
    if not message.tool_call_id:
        raise RequestError(f"{path} has no tool_call_id.", f"{path}.tool_call_id", code="missing_required_parameter")
    if message.content is None:
        raise RequestError(f"{path} has no content.", f"{path}.content", code="invalid_content_part")
    content = content_parts(message.content, f"{path}.content", _TEXT)
    output = item_pb2.FunctionCallOutput(call_id=message.tool_call_id, content=content)
    return SourcedItem(item_pb2.Item(function_call_output=output), path)
