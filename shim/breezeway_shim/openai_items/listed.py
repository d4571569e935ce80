"""Items and their parts as JSON, the way OpenAI lists them: in a response's output, its input items, a conversation."""

from collections.abc import Iterable
from typing import assert_never

import msgspec
from breezeway.v1 import item_pb2

SERVER_LABEL = "breezeway"
"""OpenAI knows approvals only of MCP servers, each with its label; ours come from the agents here."""

_STATUSES = {
    item_pb2.ITEM_STATUS_IN_PROGRESS: "in_progress",
    item_pb2.ITEM_STATUS_INCOMPLETE: "incomplete",
}
_ROLES = {
    item_pb2.ROLE_USER: "user",
    item_pb2.ROLE_ASSISTANT: "assistant",
    item_pb2.ROLE_SYSTEM: "system",
    item_pb2.ROLE_DEVELOPER: "developer",
}


def items_json(items: Iterable[item_pb2.Item]) -> list[dict[str, object]]:
    """The items in their order, but for those that are newer than this reader."""
    return [listed for item in items if (listed := item_json(item)) is not None]


def item_json(item: item_pb2.Item) -> dict[str, object] | None:
    """The item as it is now, with its id and status; None for a kind that no reader of OpenAI's lists could know."""
    match kind := item.WhichOneof("kind"):
        case "message":
            return {
                "id": item.id,
                "type": "message",
                "status": _status(item),
                "role": _ROLES.get(item.message.role, "user"),
                "content": _parts_json(item.message.content, item.message.role == item_pb2.ROLE_ASSISTANT),
            }
        case "function_call":
            return {
                "id": item.id,
                "type": "function_call",
                "status": _status(item),
                "call_id": item.function_call.call_id,
                "name": item.function_call.name,
                "arguments": item.function_call.arguments,
            }
        case "function_call_output":
            return {
                "id": item.id,
                "type": "function_call_output",
                "status": _status(item),
                "call_id": item.function_call_output.call_id,
                "output": _output_json(item.function_call_output),
            }
        case "reasoning":
            return _reasoning_json(item)
        case "approval_request":
            return {
                "id": item.id,
                "type": "mcp_approval_request",
                "server_label": SERVER_LABEL,
                "name": item.approval_request.name,
                "arguments": item.approval_request.arguments,
            }
        case "approval_response":
            response = item.approval_response
            return {
                "id": item.id,
                "type": "mcp_approval_response",
                # OpenAI's schema requires the old name beside the new one.
                "request_id": response.approval_request_id,
                "approval_request_id": response.approval_request_id,
                "approve": response.decision != item_pb2.APPROVAL_DECISION_DENY,
                "reason": response.reason or None,
            }
        case "item_reference" | None:
            return None
        case _:
            assert_never(kind)


def part_json(part: item_pb2.ContentPart, *, written_by_agent: bool) -> dict[str, object] | None:
    """One part of a message or of a tool's output; None for a kind that is newer than this reader."""
    match kind := part.WhichOneof("kind"):
        case "text":
            if not written_by_agent:
                return {"type": "input_text", "text": part.text.text}
            return {
                "type": "output_text",
                "text": part.text.text,
                "annotations": raw_json_list(part.text.annotations),
                "logprobs": logprobs_json(part.text.logprobs),
            }
        case "refusal":
            return {"type": "refusal", "refusal": part.refusal.text}
        case "image":
            return {
                "type": "input_image",
                "image_url": part.image.url or None,
                "file_id": part.image.file_id or None,
                "detail": part.image.detail or "auto",
            }
        case "file":
            # Not null but absent where unset: the schema allows no null here.
            names = {
                "filename": part.file.filename,
                "file_url": part.file.url,
                "file_data": part.file.data,
                "file_id": part.file.file_id,
            }
            return {"type": "input_file", **{name: value for name, value in names.items() if value}}
        case None:
            return None
        case _:
            assert_never(kind)


def summary_part_json(text: str) -> dict[str, object]:
    """One part of the summary of a thought."""
    return {"type": "summary_text", "text": text}


def reasoning_part_json(text: str) -> dict[str, object]:
    """One part of a thought itself."""
    return {"type": "reasoning_text", "text": text}


def raw_json_list(texts: Iterable[str]) -> list[msgspec.Raw]:
    """JSON texts that are only carried, to be encoded as they are."""
    return [msgspec.Raw(text.encode()) for text in texts]


def logprobs_json(texts: Iterable[str]) -> list["_Logprob"]:
    """Log probabilities of tokens, each given as a JSON object.

    Models write them as Chat Completions has them, where `bytes` may be null; in Responses it must not.
    """
    return [_LOGPROB.decode(text) for text in texts]


class _Alternative(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None

    def __post_init__(self) -> None:
        if self.bytes is None:
            self.bytes = list(self.token.encode())


class _Logprob(_Alternative):
    top_logprobs: list[_Alternative] = msgspec.field(default_factory=list)


_LOGPROB = msgspec.json.Decoder(_Logprob)


def _status(item: item_pb2.Item) -> str:
    return _STATUSES.get(item.status, "completed")


def _parts_json(parts: Iterable[item_pb2.ContentPart], written_by_agent: bool) -> list[dict[str, object]]:
    return [listed for part in parts if (listed := part_json(part, written_by_agent=written_by_agent)) is not None]


def _output_json(output: item_pb2.FunctionCallOutput) -> str | list[dict[str, object]]:
    """A plain string where the output is one text or nothing, else its parts."""
    if not output.content:
        return ""
    if len(output.content) == 1 and output.content[0].HasField("text"):
        return output.content[0].text.text
    return _parts_json(output.content, written_by_agent=False)


def _reasoning_json(item: item_pb2.Item) -> dict[str, object]:
    reasoning = item.reasoning
    listed: dict[str, object] = {
        "id": item.id,
        "type": "reasoning",
        "status": _status(item),
        "summary": [summary_part_json(text) for text in reasoning.summary],
    }
    if reasoning.content:
        listed["content"] = [reasoning_part_json(text) for text in reasoning.content]
    if reasoning.encrypted_content:
        listed["encrypted_content"] = reasoning.encrypted_content
    return listed
