"""The body of a chat-completions call: what the run asks for, in the upstream's words. Only what is set is sent."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
import msgspec
from breezeway.v1 import run_pb2

from breezeway_server.agents.errors import failure
from breezeway_server.agents.llm.messages import Json
from breezeway_server.agents.tools.base import Tool

_MODES = {
    run_pb2.TOOL_CHOICE_MODE_UNSPECIFIED: "auto",
    run_pb2.TOOL_CHOICE_MODE_AUTO: "auto",
    run_pb2.TOOL_CHOICE_MODE_NONE: "none",
    run_pb2.TOOL_CHOICE_MODE_REQUIRED: "required",
}
# Of a run's sampling, by what our contract calls it.
_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_output_tokens": "max_completion_tokens",
    "seed": "seed",
    "n": "n",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
}
_STRINGS = ("user", "safety_identifier", "prompt_cache_key", "service_tier", "verbosity")
_OURS = {"model", "messages", "stream", "stream_options"}


def base_body(spec: run_pb2.RunSpec, defaults: Mapping[str, Any], own_tools: Iterable[Tool]) -> Json:
    """All of the body but its model, its messages and the tool choice.

    `defaults` are values by their name in the body, for what the caller does not set. `metadata` and `include` are not
    sent: Breezeway keeps the one itself, and the other names no output that chat completions has. Of
    `reasoning` the effort is sent; a summary cannot be asked for on this wire, and thoughts that come are shown.

    Raises `AgentError` for model options that are not JSON or would replace what is Breezeway's to say.
    """
    body: Json = {**defaults}
    if spec.HasField("sampling"):
        body |= _sampling(spec.sampling)
    if tools := [_own_tool(tool) for tool in own_tools] + [_caller_tool(tool.function) for tool in spec.tools]:
        body["tools"] = tools
    if spec.HasField("parallel_tool_calls"):
        body["parallel_tool_calls"] = spec.parallel_tool_calls
    if spec.HasField("response_format"):
        body["response_format"] = _response_format(spec.response_format)
    if spec.reasoning.effort:
        body["reasoning_effort"] = spec.reasoning.effort
    for name in _STRINGS:
        if value := getattr(spec, name):
            body[name] = value
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    if spec.model_options:
        _add_options(body, spec.model_options)
    return body


def tool_choice(choice: run_pb2.ToolChoice, *, tools_have_run: bool) -> str | Json:
    """The tool choice in its four forms.

    Once tools have run, what had to be called has been: asking for it again would keep the loop calling for ever.
    """
    mode = _MODES[choice.mode]
    if mode == "required" and tools_have_run:
        mode = "auto"
    names: list[Json] = [{"type": "function", "function": {"name": name}} for name in choice.functions]
    if not names or mode == "none":
        return mode
    if choice.forced:
        return names[0] if mode == "required" else mode
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": names}}


def encode(body: Json, *, model: str) -> bytes:
    """The body as it is sent."""
    return msgspec.json.encode({"model": model, **body})


def _sampling(sampling: run_pb2.Sampling) -> Json:
    body: Json = {}
    for field, value in sampling.ListFields():
        if field.name in _SAMPLING:
            body[_SAMPLING[field.name]] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = {
            token: int(bias) if bias.is_integer() else bias for token, bias in sampling.logit_bias.items()
        }
    return body


def _own_tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name, "parameters": msgspec.Raw(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _caller_tool(tool: run_pb2.FunctionTool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = _raw(tool.parameters, f"tools.{tool.name}.parameters")
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _response_format(wanted: run_pb2.ResponseFormat) -> Json:
    match wanted.WhichOneof("kind"):
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            form = wanted.json_schema
            schema: Json = {"name": form.name}
            if form.description:
                schema["description"] = form.description
            if form.schema:
                schema["schema"] = _raw(form.schema, "response_format.json_schema.schema")
            if form.HasField("strict"):
                schema["strict"] = form.strict
            return {"type": "json_schema", "json_schema": schema}
        case _:
            return {"type": "text"}


def _add_options(body: Json, options: Mapping[str, str]) -> None:
    for name, text in options.items():
        if name in _OURS:
            raise failure(
                "INVALID_REQUEST",
                f'model_options cannot set "{name}", which Breezeway sets itself; leave it out.',
                grpc.StatusCode.INVALID_ARGUMENT,
                param=name,
            )
        body[name] = _raw(text, f"model_options.{name}")
    if "max_tokens" in options:
        # The older name, which some upstreams alone understand; both together are refused by others.
        body.pop("max_completion_tokens", None)


def _raw(text: str, field: str) -> msgspec.Raw:
    """JSON text to be sent byte for byte: large integers and the order of keys stay as the caller wrote them."""
    raw = text.encode()
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise failure(
            "INVALID_REQUEST",
            f"{field} is not JSON; correct it.",
            grpc.StatusCode.INVALID_ARGUMENT,
            param=field,
        ) from None
    return msgspec.Raw(raw)
