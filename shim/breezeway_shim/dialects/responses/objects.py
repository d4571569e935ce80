"""The response object, built from a Run: the same in a stream's events, in the answer of a POST, and in a later GET."""

from typing import assert_never

import msgspec
from breezeway.v1 import item_pb2, run_pb2

from breezeway_shim.dialects.limits import limit_name
from breezeway_shim.ids import response_id
from breezeway_shim.openai_items.listed import items_json

_STATUSES = {
    run_pb2.RUN_STATE_QUEUED: "queued",
    run_pb2.RUN_STATE_COMPLETED: "completed",
    run_pb2.RUN_STATE_INCOMPLETE: "incomplete",
    run_pb2.RUN_STATE_FAILED: "failed",
    run_pb2.RUN_STATE_CANCELLED: "cancelled",
}
_TOOL_CHOICE_MODES = {
    run_pb2.TOOL_CHOICE_MODE_NONE: "none",
    run_pb2.TOOL_CHOICE_MODE_REQUIRED: "required",
}
# OpenAI's list of codes is closed; what it has no word for is its server's error.
_ERROR_CODES = {"UPSTREAM_RATE_LIMITED": "rate_limit_exceeded", "UPSTREAM_REJECTED": "invalid_prompt"}

Listed = dict[str, object]


def response_json(run: run_pb2.Run, *, status: str | None = None) -> Listed:
    """The whole response, with every key that OpenAI or Open Responses requires; `status` in place of the run's own."""
    spec = run.spec
    sampling = spec.sampling
    over = run.HasField("end_time")
    completed = run.state == run_pb2.RUN_STATE_COMPLETED
    response: Listed = {
        "id": response_id(run.id),
        "object": "response",
        "created_at": run.create_time.seconds,
        "status": status or _STATUSES.get(run.state, "in_progress"),
        "background": spec.background,
        "completed_at": run.end_time.seconds if completed else None,
        "error": _error_json(run.error) if run.HasField("error") else None,
        "incomplete_details": _incomplete_details(run.incomplete_reason),
        "instructions": spec.instructions or None,
        "max_output_tokens": sampling.max_output_tokens if sampling.HasField("max_output_tokens") else None,
        "max_tool_calls": spec.max_tool_calls if spec.HasField("max_tool_calls") else None,
        "model": spec.agent,
        "output": items_json(run.output),
        "parallel_tool_calls": spec.parallel_tool_calls if spec.HasField("parallel_tool_calls") else True,
        "previous_response_id": response_id(spec.previous_run_id) if spec.previous_run_id else None,
        "prompt_cache_key": spec.prompt_cache_key or None,
        "reasoning": {"effort": spec.reasoning.effort or None, "summary": spec.reasoning.summary or None},
        "safety_identifier": spec.safety_identifier or None,
        "service_tier": spec.service_tier or "default",
        "store": spec.durability != run_pb2.DURABILITY_MEMORY,
        # Where nothing was asked for, the defaults of OpenAI's API stand: null is not allowed here.
        "temperature": sampling.temperature if sampling.HasField("temperature") else 1.0,
        "text": _text_json(spec),
        "tool_choice": _tool_choice_json(spec.tool_choice),
        "tools": [_tool_json(tool.function) for tool in spec.tools if tool.HasField("function")],
        "top_logprobs": sampling.top_logprobs,
        "top_p": sampling.top_p if sampling.HasField("top_p") else 1.0,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "truncation": "auto" if spec.truncation == run_pb2.TRUNCATION_AUTO else "disabled",
        "usage": _usage_json(run.usage) if over else None,
        "user": spec.user or None,
        "metadata": dict(spec.metadata),
    }
    if spec.conversation_id:
        response["conversation"] = {"id": spec.conversation_id}
    return response


def _error_json(error: run_pb2.RunError) -> Listed:
    return {"code": _ERROR_CODES.get(error.reason, "server_error"), "message": error.message}


def _incomplete_details(reason: item_pb2.IncompleteReason.ValueType) -> Listed | None:
    """OpenAI's list of reasons is closed: of those it has no word for, `limit` gives ours."""
    match reason:
        case item_pb2.INCOMPLETE_REASON_UNSPECIFIED:
            return None
        case item_pb2.INCOMPLETE_REASON_CONTENT_FILTER:
            return {"reason": "content_filter"}
        case item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS:
            return {"reason": "max_output_tokens"}
        case _:
            limit = limit_name(reason)
            return {"reason": "max_output_tokens", "limit": limit}


def _text_json(spec: run_pb2.RunSpec) -> Listed:
    text: Listed = {"format": _format_json(spec.response_format)}
    if spec.verbosity:
        text["verbosity"] = spec.verbosity
    return text


def _format_json(form: run_pb2.ResponseFormat) -> Listed:
    match kind := form.WhichOneof("kind"):
        case "json_schema":
            return {
                "type": "json_schema",
                "name": form.json_schema.name,
                "description": form.json_schema.description or None,
                "schema": msgspec.Raw(form.json_schema.schema.encode() or b"{}"),
                "strict": form.json_schema.strict if form.json_schema.HasField("strict") else None,
            }
        case "json_object":
            return {"type": "json_object"}
        case "text" | None:
            return {"type": "text"}
        case _:
            assert_never(kind)


def _tool_choice_json(choice: run_pb2.ToolChoice) -> object:
    if choice.forced:
        return {"type": "function", "name": choice.functions[0]}
    mode = _TOOL_CHOICE_MODES.get(choice.mode, "auto")
    if choice.functions:
        tools = [{"type": "function", "name": name} for name in choice.functions]
        return {"type": "allowed_tools", "mode": mode, "tools": tools}
    return mode


def _tool_json(tool: run_pb2.FunctionTool) -> Listed:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": msgspec.Raw(tool.parameters.encode()) if tool.parameters else None,
        "strict": tool.strict if tool.HasField("strict") else None,
    }


def _usage_json(usage: run_pb2.Usage) -> Listed:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
