"""What comes in: the body of a response request, as far as Breezeway reads it.

Every optional field may be null. What is not listed is passed on to the model as it is (see `request`).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from breezeway_shim.openai_items.requested import RequestedItem

_UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class Tool(Struct):
    """A tool of the caller, in the flat form; functions only."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Raw = Raw(b"null")
    strict: bool | None = None
    # Of OpenAI's own search and programs of tools, which no other model has.
    allowed_callers: Any = None
    defer_loading: bool | None = None
    output_schema: Any = None


class ToolChoice(Struct):
    """The forms of `tool_choice` that are objects."""

    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[Tool] | None = None


class TextFormat(Struct, forbid_unknown_fields=True):
    """The form of the answer."""

    type: str
    name: str | None = None
    description: str | None = None
    schema: Raw = Raw(b"null")
    strict: bool | None = None


class Text(Struct, forbid_unknown_fields=True):
    """What the answer's text is like."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(Struct, forbid_unknown_fields=True):
    """How hard a reasoning model thinks, and how much of it shows."""

    effort: str | None = None
    summary: str | None = None
    # The older name of `summary`.
    generate_summary: str | None = None
    context: Any = None
    mode: Any = None


class StreamOptions(Struct, forbid_unknown_fields=True):
    """How a stream is sent."""

    include_obfuscation: bool | None = None


class BackgroundOptions(Struct, forbid_unknown_fields=True):
    """How soon a background response has to be there, and what it is put in line with."""

    completion_window: str | None = None
    continuation_id: Any = None


class Conversation(Struct, forbid_unknown_fields=True):
    """A conversation by its id or name."""

    id: str


class ResponseRequest(Struct):
    """The body."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[RequestedItem] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | Conversation | None = None
    conversation_history: list[RequestedItem] | None = None
    busy_policy: str | None = None
    store: bool | None = None
    background: bool | None = None
    background_options: BackgroundOptions | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: _UInt32 | None = None
    max_output_tokens: _UInt32 | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: _UInt32 | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    metadata: dict[str, str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    prompt: Any = None
    context_management: Any = None


DECODER = msgspec.json.Decoder(ResponseRequest, strict=False)
