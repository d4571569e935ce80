"""A response request as a run: every parameter is honoured, passed on to the model, or refused by name.

| parameter | what becomes of it |
|---|---|
| `model`, `input`, `instructions`, `previous_response_id`, `conversation`, `tools`, `tool_choice`, `parallel_tool_calls`, `max_tool_calls` | honoured |
| `input` of `mcp_approval_response` items | honoured: decides what a response waits for (see `approvals`) |
| `conversation_history` | honoured (Breezeway's own): comes before `input`, and in place of what `previous_response_id` refers to; refused beside `conversation` |
| `busy_policy` | honoured (Breezeway's own), likewise the header `X-Conversation-Busy`: `reject`, `queue` or `interrupt` |
| `max_output_tokens`, `temperature`, `top_p`, `presence_penalty`, `frequency_penalty`, `top_logprobs`, `text.format`, `truncation` | honoured |
| `store`, `background`, `metadata` | honoured; stored unless `store` is false |
| `stream` | honoured; `stream_options` without it is refused, and so is `stream_options.include_obfuscation: true` |
| `include` | honoured where such output can come up; a value that OpenAI does not list is refused |
| `text.verbosity`, `reasoning.effort`, `reasoning.summary` (also as `generate_summary`), `service_tier`, `user`, `safety_identifier`, `prompt_cache_key` | passed on |
| `background_options.completion_window` | refused where it is not `soonest` |
| `prompt`, `context_management`, `reasoning.context`, `reasoning.mode`, `background_options.continuation_id` | refused |
| tools of any type but `function`, input items and content that `openai_items` and `content` do not list | refused |
| `prompt_cache_retention` and all that is not named here | passed on as it is |
"""  # noqa: E501  a table's row is one line

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from breezeway.v1 import item_pb2, run_pb2

from breezeway_shim.body import decode, decode_fields, json_text
from breezeway_shim.dialects.fields import field_to_param
from breezeway_shim.dialects.headers import RunOptions, busy_policy_of
from breezeway_shim.dialects.responses.approvals import Decisions, decisions_of
from breezeway_shim.dialects.responses.parameters import text_format_of, tool_choice_of, tools_of
from breezeway_shim.dialects.responses.schema import DECODER, Conversation, ResponseRequest
from breezeway_shim.errors import FieldToParam, RequestError
from breezeway_shim.openai_items.requested import items_of, user_message

DIALECT = "responses"

LOGPROBS = "message.output_text.logprobs"
INCLUDABLE = frozenset(
    {
        LOGPROBS,
        "reasoning.encrypted_content",
        "message.input_image.image_url",
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
    }
)
"""OpenAI's list. Most of it is about tools that are refused here, so that there is nothing to include."""

_NO_OPTIONS = RunOptions()
_KNOWN = frozenset(ResponseRequest.__struct_fields__)


class ResponseCall(NamedTuple):
    """What a request asks of the server, and how its caller wants the answer."""

    spec: run_pb2.RunSpec
    input: list[item_pb2.Item]
    stream: bool
    options: RunOptions
    field_to_param: FieldToParam
    # Set where the request asks for no run, but decides what one waits for.
    decisions: Decisions | None = None


def parse(body: bytes, options: RunOptions = _NO_OPTIONS) -> ResponseCall:
    """What the body asks for. Raises `RequestError` naming the parameter at fault.

    The same body and headers give the same run, whether it is streamed or not: idempotency rests on that.
    """
    fields = decode_fields(body)
    request = decode(DECODER, body)
    _refuse_unsupported(request)
    spec = _spec(request, fields)
    spec.conversation_id = _conversation(request, options.conversation_id)
    spec.busy_policy = busy_policy_of(request.busy_policy or "", "busy_policy", "busy_policy") or options.busy_policy
    history = items_of(request.conversation_history or (), "conversation_history")
    written = _input(request)
    to_param = field_to_param(len(history), input_is_list=isinstance(request.input, list))
    decisions = decisions_of(request, written)
    if decisions is not None:
        _leave_unsaid(spec, request)
    return ResponseCall(spec, history + written, bool(request.stream), options, to_param, decisions)


def refuse_unknown_include(values: list[str]) -> None:
    """Raise `RequestError` for a value of `include` that OpenAI does not list."""
    for index, value in enumerate(values):
        if value not in INCLUDABLE:
            raise RequestError(
                f"include[{index}] is {value!r}; it must be one of {', '.join(sorted(INCLUDABLE))}.",
                f"include[{index}]",
                code="invalid_value",
            )


def _refuse_unsupported(request: ResponseRequest) -> None:
    reasoning, background = request.reasoning, request.background_options
    refused = {
        "prompt": request.prompt,
        "context_management": request.context_management,
        "reasoning.context": reasoning and reasoning.context,
        "reasoning.mode": reasoning and reasoning.mode,
        "background_options.continuation_id": background and background.continuation_id,
    }
    for name, value in refused.items():
        if value is not None:
            raise RequestError(f"{name} is not supported here.", name, code="unsupported_parameter")
    if background is not None and background.completion_window not in {None, "soonest"}:
        raise RequestError(
            "Runs are not put off here; the completion window may be 'soonest' alone.",
            "background_options.completion_window",
            code="unsupported_value",
        )
    refuse_unknown_include(request.include or [])
    if request.stream_options is not None:
        if not request.stream:
            raise RequestError(
                "stream_options may be given only where stream is true.", "stream_options", code="invalid_value"
            )
        if request.stream_options.include_obfuscation:
            raise RequestError(
                "Streams are not padded here.", "stream_options.include_obfuscation", code="unsupported_value"
            )
    if request.background and request.store is False:
        raise RequestError("A background response must be stored.", "store", code="invalid_value")


def _input(request: ResponseRequest) -> list[item_pb2.Item]:
    match request.input:
        case str() as text:
            return [user_message(text)]
        case list() as items:
            return items_of(items, "input")
        case None:
            return []


def _leave_unsaid(spec: run_pb2.RunSpec, request: ResponseRequest) -> None:
    """Take the defaults out of the spec: only what the caller said can be held against a run that is there."""
    if request.store is None:
        spec.ClearField("durability")
    if request.truncation is None:
        spec.ClearField("truncation")


def _conversation(request: ResponseRequest, in_header: str) -> str:
    """The conversation that is asked for; empty where none is."""
    asked = request.conversation
    in_body = asked.id if isinstance(asked, Conversation) else asked
    if in_body == "":
        raise RequestError("conversation must have an id.", "conversation", code="invalid_value")
    if in_body and in_header and in_body != in_header:
        raise RequestError(
            "conversation and the header X-Conversation-Id name two conversations.",
            "conversation",
            code="invalid_value",
        )
    conversation_id = in_body or in_header
    if conversation_id:
        for name in ("previous_response_id", "conversation_history"):
            if getattr(request, name):
                raise RequestError(
                    f"Give conversation or {name}, not both.", name, code="mutually_exclusive_parameters"
                )
    return conversation_id


def _spec(request: ResponseRequest, fields: Mapping[str, msgspec.Raw]) -> run_pb2.RunSpec:
    spec = run_pb2.RunSpec(
        agent=request.model,
        dialect=DIALECT,
        durability=run_pb2.DURABILITY_MEMORY if request.store is False else run_pb2.DURABILITY_LOGGED,
        background=bool(request.background),
        # What the caller says of the past wins over what is stored of it.
        previous_run_id="" if request.conversation_history else request.previous_response_id or "",
        instructions=request.instructions or "",
        tools=tools_of(request.tools or ()),
        parallel_tool_calls=request.parallel_tool_calls,
        max_tool_calls=request.max_tool_calls,
        sampling=_sampling(request),
        truncation=(run_pb2.TRUNCATION_AUTO if request.truncation == "auto" else run_pb2.TRUNCATION_DISABLED),
        metadata=request.metadata or {},
        include=request.include or (),
        user=request.user or "",
        safety_identifier=request.safety_identifier or "",
        prompt_cache_key=request.prompt_cache_key or "",
        service_tier=request.service_tier or "",
    )
    if request.tool_choice is not None:
        spec.tool_choice.CopyFrom(tool_choice_of(request.tool_choice))
    if request.text is not None:
        spec.verbosity = request.text.verbosity or ""
        if request.text.format is not None:
            spec.response_format.CopyFrom(text_format_of(request.text.format))
    if reasoning := request.reasoning:
        spec.reasoning.effort = reasoning.effort or ""
        spec.reasoning.summary = reasoning.summary or reasoning.generate_summary or ""
    for name, raw in fields.items():
        if name not in _KNOWN and (text := json_text(raw)):
            spec.model_options[name] = text
    return spec


def _sampling(request: ResponseRequest) -> run_pb2.Sampling:
    logprobs = LOGPROBS in (request.include or ()) or bool(request.top_logprobs)
    return run_pb2.Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        max_output_tokens=request.max_output_tokens,
        logprobs=True if logprobs else None,
        top_logprobs=request.top_logprobs,
    )
