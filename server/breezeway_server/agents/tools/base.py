"""What a tool is to the agent that has it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from breezeway.v1 import item_pb2

Report = Callable[[str], None]
"""Takes one line for people about how a call is getting on; only the newest of those not yet told is."""


class ToolError(Exception):
    """Raised by a tool to tell the model, in the exception's own words, what went wrong."""


class ToolResult(NamedTuple):
    """What a tool gave back; `is_error` where the model is to take it for a failure."""

    content: tuple[item_pb2.ContentPart, ...]
    is_error: bool = False


class Tool(Protocol):
    """Something that the model may call by its name."""

    @property
    def name(self) -> str:
        """Letters, digits, underscores and hyphens, at most 64."""

    @property
    def description(self) -> str:
        """For the model; may be empty."""

    @property
    def parameters(self) -> bytes:
        """The JSON Schema of the arguments, an object, as JSON."""

    @property
    def needs_approval(self) -> bool:
        """Whether somebody has to allow each call."""

    async def call(self, arguments: str, report: Report) -> ToolResult:
        """Carry out one call; `arguments` is the model's text, which may be anything.

        Never raises for what the tool does, and lets go of all it holds where it is cancelled.
        """


class ToolSource(Protocol):
    """A place that brings tools, which may change while the server runs."""

    async def tools(self) -> Sequence[Tool]:
        """The tools there are now. Waits for a place that begins, never for one that is known to be away."""


def text_result(text: str, *, is_error: bool = False) -> ToolResult:
    """A result of one text."""
    return ToolResult((item_pb2.ContentPart(text=item_pb2.Text(text=text)),), is_error)


def bounded(result: ToolResult, max_text: int) -> ToolResult:
    """The result with its text cut to `max_text` characters in all, and a note of how many there were."""
    total = sum(len(part.text.text) for part in result.content)
    if total <= max_text:
        return result
    room = max_text
    content: list[item_pb2.ContentPart] = []
    for part in result.content:
        if part.WhichOneof("kind") != "text":
            content.append(part)
        elif room > 0:
            text = part.text.text[:room]
            room -= len(text)
            if room == 0:
                text += f"\n[cut: {total} characters in all]"
            content.append(item_pb2.ContentPart(text=item_pb2.Text(text=text)))
    return ToolResult(tuple(content), result.is_error)
