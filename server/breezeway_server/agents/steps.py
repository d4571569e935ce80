"""Steps: what an agent says it is doing. The engine turns them into events; agents never touch the log.

An agent says neither ids nor sequences, and never repeats a text it has streamed: the engine sums up the deltas, so
that what was streamed and what is stored cannot differ. Items open and close by themselves:

* a `TextDelta` or `RefusalDelta` opens a message where its choice has none open, a `ReasoningDelta` a thought;
* a delta of another kind, a `ToolCallStarted` or a `ToolCallOutput` closes the message or thought that is open;
* a call stays open until its `ToolCallCompleted`; several may be open at once, with their deltas interleaved;
* the end of the agent closes what is left.
"""

from breezeway.v1 import item_pb2, run_pb2
from msgspec import Struct


class TextDelta(Struct, frozen=True):
    """More of the answer's text, never cut inside a character; `logprobs` holds one JSON object a token."""

    text: str
    choice_index: int = 0
    logprobs: tuple[str, ...] = ()


class RefusalDelta(Struct, frozen=True):
    """More of the model's words when it declines."""

    text: str
    choice_index: int = 0


class ReasoningDelta(Struct, frozen=True):
    """More of a thought, or of the summary of one; another `part_index` begins another part."""

    text: str
    summary: bool = False
    part_index: int = 0
    choice_index: int = 0


class ToolCallStarted(Struct, frozen=True):
    """The model asks for a tool; `executor` says whether the agent or the caller carries it out."""

    call_id: str
    name: str
    executor: item_pb2.Executor.ValueType
    choice_index: int = 0


class ToolArgumentsDelta(Struct, frozen=True):
    """More of an open call's arguments, as the model writes them."""

    call_id: str
    arguments: str


class ToolCallCompleted(Struct, frozen=True):
    """An open call is whole."""

    call_id: str


class ToolProgress(Struct, frozen=True):
    """The tool of a server call is getting on; one line for people."""

    call_id: str
    message: str


class ToolCallOutput(Struct, frozen=True):
    """The tool of a completed server call gave this back."""

    call_id: str
    content: tuple[item_pb2.ContentPart, ...]
    is_error: bool = False


class ModelCallCompleted(Struct, frozen=True):
    """A model call ended and reported its usage; to be said also where the call was cut, if usage is known.

    A run that has spent its tokens ends here, as incomplete, unless `last` says that no model will be called again.
    """

    model: str
    usage: run_pb2.Usage
    last: bool = False


class ChoiceIncomplete(Struct, frozen=True):
    """The choice ends early at a limit: what it has open closes as incomplete, and the run will end so too."""

    reason: item_pb2.IncompleteReason.ValueType
    choice_index: int = 0


Step = (
    TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ToolCallStarted
    | ToolArgumentsDelta
    | ToolCallCompleted
    | ToolProgress
    | ToolCallOutput
    | ModelCallCompleted
    | ChoiceIncomplete
)
