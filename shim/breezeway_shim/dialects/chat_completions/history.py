"""What the messages of a chat are to a conversation: new ones alone, or the whole of it."""

import hashlib
from collections.abc import Iterable

from breezeway.v1 import item_pb2

from breezeway_shim.dialects.chat_completions.messages import SourcedItem

_INSTRUCTING = frozenset({item_pb2.ROLE_SYSTEM, item_pb2.ROLE_DEVELOPER})


def holds_answer(items: Iterable[SourcedItem]) -> bool:
    """Whether the agent has spoken in them already, so that they are the whole conversation and not its next turn."""
    return any(item.HasField("function_call") or item.message.role == item_pb2.ROLE_ASSISTANT for item, _ in items)


def without_instructions(items: Iterable[SourcedItem]) -> tuple[str, list[SourcedItem]]:
    """The text of system and developer messages, and the items without these."""
    said: list[str] = []
    others: list[SourcedItem] = []
    for sourced in items:
        if sourced.item.message.role in _INSTRUCTING:
            said.append(_text(sourced.item))
        else:
            others.append(sourced)
    return "\n\n".join(said), others


def affinity_key(items: Iterable[SourcedItem]) -> str:
    """What stays the same over the turns of a chat that is sent whole every time: 64 hexadecimal digits.

    A digest of all that is said up to and with the user's first message. Two chats that begin alike share it, so it
    may lead like to like, and must open nothing.
    """
    digest = hashlib.sha256()
    for item, _ in items:
        text = _text(item).encode()
        digest.update(b"%d %d %b" % (item.message.role, len(text), text))
        if item.message.role == item_pb2.ROLE_USER:
            break
    return digest.hexdigest()


def _text(item: item_pb2.Item) -> str:
    return "".join([part.text.text for part in item.message.content])
