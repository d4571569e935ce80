"""What others wrote and what enums say, as text that is safe to print."""

from collections.abc import Iterable
from typing import Any

from breezeway.v1 import item_pb2

# What a model writes must not move the cursor, ring or recolour the reader's terminal.
_UNPRINTABLE = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def printable(text: str) -> str:
    """The text without control characters, but for tabs and line ends."""
    return text.translate(_UNPRINTABLE)


def text_of(content: Iterable[item_pb2.ContentPart]) -> str:
    """The text of a content, a part a line; parts of other kinds are named."""
    return "\n".join(part.text.text or part.refusal.text or f"[{part.WhichOneof('kind')}]" for part in content)


def word_of(enum: Any, value: int) -> str:
    """The word of an enum's value, as people write it: RUN_STATE_REQUIRES_ACTION is "requires action".

    A value that is newer than this reader is its number.
    """
    descriptor = enum.DESCRIPTOR.values_by_number.get(value)
    if descriptor is None:
        return str(value)
    # Every name begins with that of its enum, which the zero has with UNSPECIFIED behind it.
    prefix = enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(descriptor.name.removeprefix(prefix).replace("_", " ").lower())
