"""Items to chat messages."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from breezeway.v1 import item_pb2

from breezeway_server.agents.base import AgentError
from breezeway_server.agents.errors import failure

Json = dict[str, Any]

_ROLES = {
    item_pb2.ROLE_USER: "user",
    item_pb2.ROLE_ASSISTANT: "assistant",
    item_pb2.ROLE_SYSTEM: "system",
    item_pb2.ROLE_DEVELOPER: "developer",
}
_LOST = "The call was not carried out: the run that made it ended before."


def to_messages(
    instructions: Sequence[str], items: Iterable[item_pb2.Item], running: Iterable[item_pb2.Item]
) -> list[Json]:
    """The chat messages for `items` (history and input) and `running` (what the run has brought forth so far).

    Instructions come first, as one system message, then every system and developer message, then the dialogue in its
    order. A turn's calls are `tool_calls` of its one assistant message. Left out: thoughts, for which chat completions
    has no place, approvals, whose outcome is in the call's output, and calls that were cut before they were whole.

    Raises `AgentError` for content that this wire cannot carry.
    """
    front: list[Json] = []
    if text := "\n\n".join(filter(None, instructions)):
        front.append({"role": "system", "content": text})
    dialogue = _Dialogue()
    for item in items:
        if item.WhichOneof("kind") == "message" and item.message.role in {
            item_pb2.ROLE_SYSTEM,
            item_pb2.ROLE_DEVELOPER,
        }:
            front.append(_message(item.message))
        else:
            dialogue.add(item)
    # A call of ours that an earlier run left open (it failed, or was cancelled) would make the upstream refuse every
    # later turn of the conversation. Calls of the caller are the caller's to answer.
    dialogue.close_lost_calls()
    for item in running:
        dialogue.add(item)
    dialogue.show_pictures()
    return front + dialogue.messages


class _Dialogue:
    """User, assistant and tool messages, in order."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._open_server_calls: dict[str, Json] = {}
        self._names: dict[str, str] = {}
        self._pictures: list[Json] = []
        self._interrupted = False

    def add(self, item: item_pb2.Item) -> None:
        match item.WhichOneof("kind"):
            case "message" if item.message.role == item_pb2.ROLE_ASSISTANT:
                self._add_answer(item)
            case "message":
                self.show_pictures()
                self._interrupted = False
                self.messages.append(_message(item.message))
            case "function_call" if item.status != item_pb2.ITEM_STATUS_INCOMPLETE:
                self._add_call(item.function_call)
            case "function_call_output":
                self._add_output(item.function_call_output)
            case _:
                pass

    def close_lost_calls(self) -> None:
        for call_id, message in self._open_server_calls.items():
            # Right behind the message that made the call, which is where outputs have to be.
            at = next(index for index, known in enumerate(self.messages) if known is message)
            self.messages.insert(at + 1, _tool_message(call_id, _LOST))
        self._open_server_calls.clear()

    def show_pictures(self) -> None:
        """Add what the outputs of the last turn hold beside text: a message of the user, behind all of them."""
        if self._pictures:
            self.messages.append({"role": "user", "content": self._pictures})
            self._pictures = []

    def _add_output(self, output: item_pb2.FunctionCallOutput) -> None:
        self._open_server_calls.pop(output.call_id, None)
        texts = [part for part in output.content if part.WhichOneof("kind") in {"text", "refusal"}]
        if len(texts) < len(output.content):
            # Messages of tools carry text alone on this wire, and nothing may stand between those of one turn.
            name = self._names.get(output.call_id, output.call_id)
            self._pictures.append({"type": "text", "text": f"Given back by the tool {name}:"})
            self._pictures += [_part(part) for part in output.content if part not in texts]
            texts.append(item_pb2.ContentPart(text=item_pb2.Text(text="[More of this in the next message.]")))
        self.messages.append(_tool_message(output.call_id, _content(texts)))

    def _add_answer(self, item: item_pb2.Item) -> None:
        self.show_pictures()
        message = _message(item.message)
        last = self.messages[-1] if self.messages else None
        if last is not None and last["role"] == "assistant" and self._continues(last):
            # One turn of the model in two items: text beside calls, or a text that a crash cut in two.
            last["content"] = _joined(last["content"], message["content"])
            if "refusal" in message:
                last["refusal"] = last.get("refusal", "") + message["refusal"]
        else:
            self.messages.append(message)
        self._interrupted = item.incomplete_reason == item_pb2.INCOMPLETE_REASON_INTERRUPTED

    def _continues(self, last: Json) -> bool:
        return self._interrupted or ("tool_calls" in last and last["content"] is None)

    def _add_call(self, call: item_pb2.FunctionCall) -> None:
        self.show_pictures()
        self._names[call.call_id] = call.name
        if not self.messages or self.messages[-1]["role"] != "assistant":
            self.messages.append({"role": "assistant", "content": None})
        message = self.messages[-1]
        message.setdefault("tool_calls", []).append(
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        )
        if call.executor == item_pb2.EXECUTOR_SERVER:
            self._open_server_calls[call.call_id] = message


def _message(message: item_pb2.Message) -> Json:
    parts = message.content
    role = _ROLES.get(message.role)
    if role is None:
        raise _unsupported("a message without a role", "message.role")
    result: Json = {"role": role, "content": None}
    if role == "assistant" and parts and all(part.WhichOneof("kind") == "refusal" for part in parts):
        result["refusal"] = "".join(part.refusal.text for part in parts)
    else:
        result["content"] = _content(parts)
    if message.name:
        result["name"] = message.name
    return result


def _tool_message(call_id: str, content: str | list[Json]) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _content(parts: Sequence[item_pb2.ContentPart]) -> str | list[Json]:
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].WhichOneof("kind") == "text":
        # The form that every upstream knows.
        return parts[0].text.text
    return [_part(part) for part in parts]


def _part(part: item_pb2.ContentPart) -> Json:
    match part.WhichOneof("kind"):
        case "text":
            return {"type": "text", "text": part.text.text}
        case "refusal":
            return {"type": "refusal", "refusal": part.refusal.text}
        case "image" if part.image.url:
            image = {"url": part.image.url}
            if part.image.detail:
                image["detail"] = part.image.detail
            return {"type": "image_url", "image_url": image}
        case "image":
            raise _unsupported("an image by file_id", "image.file_id")
        case "file" if part.file.url:
            raise _unsupported("a file by URL", "file.url")
        case "file":
            file = {"filename": part.file.filename, "file_data": part.file.data, "file_id": part.file.file_id}
            return {"type": "file", "file": {key: value for key, value in file.items() if value}}
        case _:
            raise _unsupported("a content part of no known kind", "content")


def _joined(first: str | list[Json] | None, second: str | list[Json] | None) -> str | list[Json] | None:
    if first is None or second is None:
        return first if second is None else second
    if isinstance(first, str) and isinstance(second, str):
        return first + second
    return _as_parts(first) + _as_parts(second)


def _as_parts(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _unsupported(what: str, param: str) -> AgentError:
    return failure(
        "UNSUPPORTED_CONTENT_TYPE",
        f"This agent's model cannot be given {what}; send it in another form.",
        grpc.StatusCode.INVALID_ARGUMENT,
        param=param,
    )
