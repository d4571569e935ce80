"""What a stored completion read, as the messages that OpenAI lists for it."""

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

from breezeway.v1 import item_pb2

from breezeway_shim.dialects.chat_completions.completion import tool_call_json

_ROLES = {
    item_pb2.ROLE_USER: "user",
    item_pb2.ROLE_ASSISTANT: "assistant",
    item_pb2.ROLE_SYSTEM: "system",
    item_pb2.ROLE_DEVELOPER: "developer",
}

Listed = dict[str, Any]


def messages_of(items: Iterable[item_pb2.Item]) -> list[Listed]:
    """The messages that the items were, each with the id of its first item.

    Thoughts, words and calls of the agent that follow each other were one message.
    """
    messages: list[Listed] = []
    answer: Listed | None = None
    for item in items:
        match kind := item.WhichOneof("kind"):
            case "message" if item.message.role != item_pb2.ROLE_ASSISTANT:
                answer = None
                listed = _message(item, _ROLES.get(item.message.role, "user"), item.message.content)
                messages.append(listed | {"name": item.message.name or None})
            case "function_call_output":
                answer = None
                output = item.function_call_output
                messages.append(_message(item, "tool", output.content) | {"tool_call_id": output.call_id})
            case "message" | "reasoning" | "function_call":
                # Thoughts and words open an answer, where the last one has its words or its calls already.
                if answer is None or (kind != "function_call" and not _only_thought(answer)):
                    answer = _message(item, "assistant", ())
                    messages.append(answer)
                _add(answer, item)
            case "approval_request" | "approval_response" | "item_reference" | None:
                pass  # No messages, or newer than this reader.
            case _:
                assert_never(kind)
    return messages


def _only_thought(answer: Listed) -> bool:
    return answer["content"] is None and answer["refusal"] is None and "tool_calls" not in answer


def _add(answer: Listed, item: item_pb2.Item) -> None:
    """Add a thought, words or a call of the agent to its answer."""
    if item.HasField("reasoning"):
        thought = "".join((*item.reasoning.summary, *item.reasoning.content))
        answer["reasoning_content"] = answer.get("reasoning_content", "") + thought
    elif item.HasField("function_call"):
        answer.setdefault("tool_calls", []).append(tool_call_json(item.function_call))
    else:
        answer |= _content(item.message.content)


def _message(item: item_pb2.Item, role: str, parts: Sequence[item_pb2.ContentPart]) -> Listed:
    return {"id": item.id, "role": role, **_content(parts)}


def _content(parts: Sequence[item_pb2.ContentPart]) -> Listed:
    """The texts as one, and beside them the parts as they were where they were more than one text."""
    texts = [part.text.text for part in parts if part.HasField("text")]
    listed = [_part(part) for part in parts if not part.HasField("refusal")]
    return {
        "content": "".join(texts) if texts else None,
        "refusal": "".join(part.refusal.text for part in parts) or None,
        "content_parts": listed if len(listed) > 1 or len(texts) < len(listed) else None,
    }


def _part(part: item_pb2.ContentPart) -> Listed:
    if part.HasField("image"):
        image = {"url": part.image.url, "file_id": part.image.file_id, "detail": part.image.detail}
        return {"type": "image_url", "image_url": {name: value for name, value in image.items() if value}}
    if part.HasField("file"):
        file = {
            "filename": part.file.filename,
            "file_data": part.file.data,
            "file_url": part.file.url,
            "file_id": part.file.file_id,
        }
        return {"type": "file", "file": {name: value for name, value in file.items() if value}}
    return {"type": "text", "text": part.text.text}
