"""A chat completion request as a run: every parameter is honoured, passed on to the model, or refused by name.

| parameter | what becomes of it |
|---|---|
| `model`, `messages`, `tools`, `tool_choice`, `parallel_tool_calls`, `response_format` | honoured |
| `temperature`, `top_p`, `presence_penalty`, `frequency_penalty`, `stop`, `seed`, `logit_bias`, `n`, `logprobs`, `top_logprobs`, `max_completion_tokens` | honoured |
| `max_tokens` | honoured, and the model sees it in this spelling |
| `reasoning_effort`, `verbosity`, `service_tier`, `user`, `safety_identifier`, `prompt_cache_key` | passed on |
| `stream`, `stream_options.include_usage` | honoured; `stream_options` without `stream` is refused |
| `store`, `metadata` | honoured; not stored unless asked for |
| `conversation_id` | honoured (Breezeway's own), likewise the header `X-Conversation-Id`; such a run is stored unless `store: false`, which is refused |
| `busy_policy` | honoured (Breezeway's own), likewise the header `X-Conversation-Busy`: `reject`, `queue` or `interrupt` |
| `modalities` | `["text"]` is honoured; audio is refused |
| `audio`, `functions`, `function_call`, `stream_options.include_obfuscation: true` | refused |
| tools of type `custom`, messages of role `function` | refused |
| `prediction`, `web_search_options`, `prompt_cache_retention` and all that is not named here | passed on as it is |
"""  # noqa: E501  a table's row is one line

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from breezeway.v1 import run_pb2, stream_service_pb2

from breezeway_shim.body import decode, decode_fields, json_text
from breezeway_shim.dialects.chat_completions.history import affinity_key, holds_answer, without_instructions
from breezeway_shim.dialects.chat_completions.messages import items_of
from breezeway_shim.dialects.chat_completions.schema import DECODER, ChatRequest
from breezeway_shim.dialects.chat_completions.tools import response_format_of, tool_choice_of, tools_of
from breezeway_shim.dialects.headers import RunOptions, busy_policy_of
from breezeway_shim.errors import FieldToParam, RequestError

DIALECT = "chat_completions"

_NO_OPTIONS = RunOptions()
_KNOWN = frozenset(ChatRequest.__struct_fields__)
_REFUSED = {
    "audio": "Audio is not supported.",
    "functions": "functions is not supported; use tools.",
    "function_call": "function_call is not supported; use tool_choice.",
}
_INPUT_FIELD = re.compile(r"input\[(\d+)\]\.?(.*)")
_ITEM_FIELDS = {
    "message.content": "content",
    "message.role": "role",
    "message.name": "name",
    "function_call.name": "function.name",
    "function_call.arguments": "function.arguments",
    "function_call.call_id": "id",
    "function_call_output.call_id": "tool_call_id",
    "function_call_output.content": "content",
}
_SPEC_FIELDS = {
    "agent": "model",
    "reasoning.effort": "reasoning_effort",
    "tool_choice.functions": "tool_choice",
}


class ChatCall(NamedTuple):
    """What a request asks of the server, and how its caller wants the answer."""

    run: stream_service_pb2.StreamRunRequest
    stream: bool
    include_usage: bool
    field_to_param: FieldToParam


def parse(body: bytes, options: RunOptions = _NO_OPTIONS) -> ChatCall:
    """Return what the body asks for. Raises `RequestError` naming the parameter at fault.

    The same body and headers give the same run, whether it is streamed or not: idempotency rests on that.
    """
    fields = decode_fields(body)
    chat = decode(DECODER, body)
    _refuse_unsupported(chat)
    spec = _spec(chat, fields)
    spec.conversation_id = _agreed(chat.conversation_id or "", options.conversation_id)
    spec.busy_policy = busy_policy_of(chat.busy_policy or "", "busy_policy", "busy_policy") or options.busy_policy
    items = items_of(chat.messages)
    if not spec.conversation_id:
        spec.affinity_key = affinity_key(items)
    else:
        if chat.store is None:
            # The next turn reads this one.
            spec.durability = run_pb2.DURABILITY_LOGGED
        spec.explicit_history = holds_answer(items)
        if not spec.explicit_history:
            # A conversation keeps its items, and these would come again with every turn.
            spec.instructions, items = without_instructions(items)
    stream = bool(chat.stream)
    run = stream_service_pb2.StreamRunRequest(
        spec=spec,
        input=[sourced.item for sourced in items],
        request_id=options.request_id,
        detail=stream_service_pb2.STREAM_DETAIL_FULL if stream else stream_service_pb2.STREAM_DETAIL_ITEMS,
        on_disconnect=options.leaving(spec),
    )
    include_usage = bool(chat.stream_options and chat.stream_options.include_usage)
    limit_name = "max_tokens" if chat.max_completion_tokens is None else "max_completion_tokens"
    return ChatCall(run, stream, include_usage, _field_to_param([sourced.path for sourced in items], limit_name))


def _refuse_unsupported(chat: ChatRequest) -> None:
    for name, message in _REFUSED.items():
        if getattr(chat, name) is not None:
            raise RequestError(message, name, code="unsupported_parameter")
    if chat.modalities is not None and chat.modalities != ["text"]:
        raise RequestError("Only the modality text is supported.", "modalities", code="unsupported_value")
    if chat.stream_options is not None:
        if not chat.stream:
            raise RequestError(
                "stream_options may be given only where stream is true.", "stream_options", code="invalid_value"
            )
        if chat.stream_options.include_obfuscation:
            raise RequestError(
                "Streams are not padded here.", "stream_options.include_obfuscation", code="unsupported_value"
            )


def _spec(chat: ChatRequest, fields: Mapping[str, msgspec.Raw]) -> run_pb2.RunSpec:
    spec = run_pb2.RunSpec(
        agent=chat.model,
        dialect=DIALECT,
        durability=run_pb2.DURABILITY_LOGGED if chat.store else run_pb2.DURABILITY_MEMORY,
        sampling=_sampling(chat),
        tools=tools_of(chat.tools or ()),
        parallel_tool_calls=chat.parallel_tool_calls,
        metadata=chat.metadata,
        user=chat.user or "",
        safety_identifier=chat.safety_identifier or "",
        prompt_cache_key=chat.prompt_cache_key or "",
        service_tier=chat.service_tier or "",
        verbosity=chat.verbosity or "",
    )
    if chat.tool_choice is not None:
        spec.tool_choice.CopyFrom(tool_choice_of(chat.tool_choice))
    if chat.response_format is not None:
        spec.response_format.CopyFrom(response_format_of(chat.response_format))
    if chat.reasoning_effort:
        spec.reasoning.effort = chat.reasoning_effort
    for name, raw in fields.items():
        if name not in _KNOWN and (text := json_text(raw)):
            spec.model_options[name] = text
    if chat.max_tokens is not None:
        spec.model_options["max_tokens"] = str(chat.max_tokens)
    return spec


def _sampling(chat: ChatRequest) -> run_pb2.Sampling:
    limit = chat.max_tokens if chat.max_completion_tokens is None else chat.max_completion_tokens
    return run_pb2.Sampling(
        temperature=chat.temperature,
        top_p=chat.top_p,
        presence_penalty=chat.presence_penalty,
        frequency_penalty=chat.frequency_penalty,
        max_output_tokens=limit,
        stop=[chat.stop] if isinstance(chat.stop, str) else chat.stop,
        seed=chat.seed,
        logit_bias=chat.logit_bias,
        n=chat.n,
        logprobs=chat.logprobs,
        top_logprobs=chat.top_logprobs,
    )


def _agreed(in_body: str, in_header: str) -> str:
    if in_body and in_header and in_body != in_header:
        raise RequestError(
            "conversation_id and the header X-Conversation-Id name two conversations.",
            "conversation_id",
            code="invalid_value",
        )
    return in_body or in_header


def _field_to_param(paths: Sequence[str], limit_name: str) -> FieldToParam:
    """Return the way from the server's names of fields back to the caller's; `paths` are those of the items."""
    spec_fields = _SPEC_FIELDS | {"sampling.max_output_tokens": limit_name}

    def field_to_param(field: str) -> str | None:
        if match := _INPUT_FIELD.fullmatch(field):
            index = int(match[1])
            if index >= len(paths):
                return "messages"
            name = next((name for start, name in _ITEM_FIELDS.items() if match[2].startswith(start)), "")
            return f"{paths[index]}.{name}".removesuffix(".")
        if field == "input":
            return "messages"
        if field == "request_id":
            return "Idempotency-Key"
        name = field.removeprefix("spec.")
        for start, param in spec_fields.items():
            if name.startswith(start):
                return param
        return name.removeprefix("sampling.").removeprefix("model_options.")

    return field_to_param
