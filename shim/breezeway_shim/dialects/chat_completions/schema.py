"""What comes in: the bodies of chat completion requests, as far as Breezeway reads them.

Every optional field may be null. What is not listed is passed on to the model as it is (see `request`).
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_PositiveInt = Annotated[int, Meta(ge=1, le=2**32 - 1)]
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class CalledFunction(Struct):
    """The function of a call that the model made."""

    name: str
    arguments: str = ""


class ToolCall(Struct):
    """A call that the model made, handed back by the caller."""

    id: str
    function: CalledFunction | None = None
    type: str = "function"


class ChatMessage(Struct):
    """One message; which fields it may have depends on its role."""

    role: str
    content: Any = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Any = None
    audio: Any = None


class Function(Struct, forbid_unknown_fields=True):
    """A function of the caller."""

    name: str
    description: str | None = None
    parameters: Raw = Raw(b"null")
    strict: bool | None = None


class Tool(Struct):
    """A tool of the caller; functions only."""

    type: str = "function"
    function: Function | None = None


class NamedFunction(Struct, forbid_unknown_fields=True):
    """A function by its name."""

    name: str


class NamedTool(Struct):
    """A tool by its name."""

    type: str = "function"
    function: NamedFunction | None = None


class AllowedTools(Struct, forbid_unknown_fields=True):
    """The tools that may be called, and whether one must be."""

    mode: str
    tools: list[NamedTool]


class ToolChoice(Struct):
    """The forms of `tool_choice` that are objects."""

    type: str = "function"
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


class JsonSchema(Struct, forbid_unknown_fields=True):
    """The schema that an answer keeps to."""

    name: str
    description: str | None = None
    schema: Raw = Raw(b"null")
    strict: bool | None = None


class ResponseFormat(Struct, forbid_unknown_fields=True):
    """The form of an answer."""

    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(Struct, forbid_unknown_fields=True):
    """How a stream is sent."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Struct):
    """The body."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    max_tokens: _PositiveInt | None = None
    max_completion_tokens: _PositiveInt | None = None
    stop: str | list[str] | None = None
    seed: _Int64 | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    modalities: list[str] | None = None
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    conversation_id: str | None = None
    busy_policy: str | None = None


class UpdateRequest(Struct):
    """The body that replaces a stored completion's metadata."""

    metadata: dict[str, str] | None


DECODER = msgspec.json.Decoder(ChatRequest, strict=False)
UPDATE = msgspec.json.Decoder(UpdateRequest, strict=False)
