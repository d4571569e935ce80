"""What is read of an upstream's stream: the needed fields of `chat.completion.chunk`, and of its errors.

The structs of a chunk are kept from the garbage collector (`gc=False`): they hold no cycle, live for one token, and
following them would cost as much as reading them.
"""

from typing import Any

import msgspec
from breezeway.v1 import run_pb2
from msgspec import Struct


class Function(Struct, gc=False):
    """Of a tool call's piece: the name comes in the first, the arguments in all."""

    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(Struct, gc=False):
    """More of a tool call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(Struct, gc=False):
    """More of a choice. Reasoning has two spellings: vLLM's and DeepSeek's, and OpenRouter's and Ollama's."""

    content: str | None = None
    tool_calls: list[ToolCallPiece] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Logprobs(Struct, gc=False):
    """One object a token, carried as it came."""

    content: list[msgspec.Raw] | None = None


class Choice(Struct, gc=False):
    """What a chunk says of one choice."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class PromptTokensDetails(Struct):
    """Of the tokens read."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionTokensDetails(Struct):
    """Of the tokens written."""

    reasoning_tokens: int | None = None


class UsageFigures(Struct):
    """Tokens of one call."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None

    def to_usage(self) -> run_pb2.Usage:
        """The figures of one model call."""
        prompt = self.prompt_tokens_details or PromptTokensDetails()
        completion = self.completion_tokens_details or CompletionTokensDetails()
        return run_pb2.Usage(
            input_tokens=self.prompt_tokens or 0,
            cached_input_tokens=prompt.cached_tokens or 0,
            cache_write_input_tokens=prompt.cache_write_tokens or 0,
            output_tokens=self.completion_tokens or 0,
            reasoning_output_tokens=completion.reasoning_tokens or 0,
            model_calls=1,
        )


class Chunk(Struct, gc=False):
    """One event of the stream. `error` is an object, or text, or null."""

    choices: list[Choice] | None = None
    usage: UsageFigures | None = None
    model: str | None = None
    error: Any = None


class ErrorBody(Struct):
    """OpenAI's error object, as far as other providers keep to it: `code` is text or a number."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class ErrorEnvelope(ErrorBody):
    """The body of a refused call. Some providers send the error as mere text, or without the envelope."""

    error: ErrorBody | str | None = None


def decode_error(body: bytes) -> ErrorBody:
    """The error that `body` holds, empty where it holds none in a form known here."""
    try:
        envelope = msgspec.json.decode(body, type=ErrorEnvelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody()
    if isinstance(envelope.error, str):
        return ErrorBody(message=envelope.error)
    return envelope.error or envelope
