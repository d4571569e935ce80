"""The chat.completion object, built from a Run: the same in the answer of a POST and in a later GET."""

from collections.abc import Iterable
from typing import Any

import msgspec
from breezeway.v1 import item_pb2, run_pb2

from breezeway_shim.errors import INVALID_REQUEST, ApiError, run_cancelled, run_failed
from breezeway_shim.ids import chat_completion_id


def completion_of(run: run_pb2.Run) -> dict[str, Any]:
    """The chat.completion of a run that is over: the same from the fold of its events and from the store.

    Raises `ApiError` where there is none: what its caller was told of a run that failed or was cancelled, and
    `run_not_over` before the end.
    """
    match run.state:
        case run_pb2.RUN_STATE_COMPLETED | run_pb2.RUN_STATE_INCOMPLETE:
            pass
        case run_pb2.RUN_STATE_FAILED:
            raise run_failed(run.error)
        case run_pb2.RUN_STATE_CANCELLED:
            raise run_cancelled()
        case _:
            message = "The completion is not over; wait for it, or follow it with stream=true."
            raise ApiError(409, INVALID_REQUEST, "run_not_over", message)
    spec = run.spec
    choices: dict[int, list[item_pb2.Item]] = {index: [] for index in range(max(1, spec.sampling.n))}
    for item in run.output:
        choices.setdefault(item.choice_index, []).append(item)
    reasons = {index: early_end(items) for index, items in choices.items()}
    if not any(reasons.values()):
        reasons = dict.fromkeys(choices, run.incomplete_reason)
    completion: dict[str, Any] = {
        "id": chat_completion_id(run.id),
        "object": "chat.completion",
        "created": run.create_time.seconds,
        "model": spec.agent,
        "choices": [_choice(index, choices[index], reasons[index]) for index in sorted(choices)],
        "usage": usage_of(run.usage),
    }
    if spec.metadata:
        completion["metadata"] = dict(spec.metadata)
    return completion


def usage_of(usage: run_pb2.Usage) -> dict[str, Any]:
    """Return the usage in Chat Completions' words."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_output_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def early_end(items: Iterable[item_pb2.Item]) -> item_pb2.IncompleteReason.ValueType:
    """Return why the last of a choice's items ended early. An interruption that a later attempt mended is none."""
    reason = item_pb2.INCOMPLETE_REASON_UNSPECIFIED
    for item in items:
        if item.incomplete_reason != item_pb2.INCOMPLETE_REASON_INTERRUPTED:
            reason = item.incomplete_reason or reason
    return reason


def finish_reason(reason: item_pb2.IncompleteReason.ValueType, *, called: bool) -> str:
    """Return the finish_reason of a choice that ended for `reason`, UNSPECIFIED where it ended as it should.

    OpenAI knows no limits but that of tokens, so that every other limit is `length` too.
    """
    if reason == item_pb2.INCOMPLETE_REASON_CONTENT_FILTER:
        return "content_filter"
    if reason != item_pb2.INCOMPLETE_REASON_UNSPECIFIED:
        return "length"
    return "tool_calls" if called else "stop"


def is_client_call(item: item_pb2.Item) -> bool:
    """Whether the item is a call that is the caller's to carry out."""
    return item.function_call.executor == item_pb2.EXECUTOR_CLIENT


def _choice(index: int, items: Iterable[item_pb2.Item], reason: item_pb2.IncompleteReason.ValueType) -> dict[str, Any]:
    text: list[str] = []
    refusal: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    annotations: list[msgspec.Raw] = []
    logprobs: list[msgspec.Raw] = []
    for item in items:
        match item.WhichOneof("kind"):
            case "message":
                for part in item.message.content:
                    text.append(part.text.text)
                    refusal.append(part.refusal.text)
                    annotations += map(_raw, part.text.annotations)
                    logprobs += map(_raw, part.text.logprobs)
            case "reasoning":
                reasoning += (*item.reasoning.summary, *item.reasoning.content)
            case "function_call" if is_client_call(item):
                # A call that was cut off with its server cannot be carried out, and the next attempt made its own.
                if item.incomplete_reason != item_pb2.INCOMPLETE_REASON_INTERRUPTED:
                    calls.append(tool_call_json(item.function_call))
            case _:
                pass  # What the agent does by itself has no place in a chat completion.
    said, declined = "".join(text), "".join(refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if not said and (declined or calls) else said,
        "refusal": declined or None,
        "annotations": annotations,
    }
    if reasoning:
        message["reasoning_content"] = "".join(reasoning)
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": message,
        "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        "finish_reason": finish_reason(reason, called=bool(calls)),
    }


def tool_call_json(call: item_pb2.FunctionCall) -> dict[str, Any]:
    """A call as `tool_calls` has it."""
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text)
