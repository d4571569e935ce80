"""Tools, the choice among them and the form of the answer, as proto."""

from collections.abc import Iterable

import msgspec
from breezeway.v1 import run_pb2

from breezeway_shim.dialects.chat_completions.schema import NamedTool, ResponseFormat, Tool, ToolChoice
from breezeway_shim.errors import RequestError

_MODES = {
    "auto": run_pb2.TOOL_CHOICE_MODE_AUTO,
    "none": run_pb2.TOOL_CHOICE_MODE_NONE,
    "required": run_pb2.TOOL_CHOICE_MODE_REQUIRED,
}


def json_text(raw: msgspec.Raw) -> str:
    """Return JSON text as the caller wrote it; empty for null."""
    text = bytes(raw).decode()
    return "" if text == "null" else text


def tools_of(tools: Iterable[Tool]) -> list[run_pb2.Tool]:
    """Return the caller's functions. Raises `RequestError` for a tool of another type."""
    found = []
    for index, tool in enumerate(tools):
        if tool.type != "function" or tool.function is None:
            raise RequestError(
                f"tools[{index}]: a tool of type {tool.type!r} is not supported here, only functions are.",
                f"tools[{index}].type",
                code="unsupported_value",
            )
        function = run_pb2.FunctionTool(
            name=tool.function.name,
            description=tool.function.description or "",
            parameters=json_text(tool.function.parameters),
            strict=tool.function.strict,
        )
        found.append(run_pb2.Tool(function=function))
    return found


def tool_choice_of(choice: str | ToolChoice) -> run_pb2.ToolChoice:
    """Return any of the four forms: a word, a named function, a list of allowed ones with `auto` or `required`."""
    if isinstance(choice, str):
        if choice in _MODES:
            return run_pb2.ToolChoice(mode=_MODES[choice])
    elif choice.type == "function" and choice.function is not None:
        return run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED, functions=[choice.function.name], forced=True)
    elif choice.type == "allowed_tools" and choice.allowed_tools is not None:
        allowed = choice.allowed_tools
        if allowed.mode in {"auto", "required"} and allowed.tools:
            return run_pb2.ToolChoice(mode=_MODES[allowed.mode], functions=[_name(tool) for tool in allowed.tools])
    raise RequestError(
        "tool_choice must be none, auto, required, a function, or allowed_tools with a mode of auto or required and a "
        "list of functions.",
        "tool_choice",
        code="invalid_value",
    )


def _name(tool: NamedTool) -> str:
    if tool.type != "function" or tool.function is None:
        raise RequestError("tool_choice may name functions only.", "tool_choice", code="unsupported_value")
    return tool.function.name


def response_format_of(form: ResponseFormat) -> run_pb2.ResponseFormat:
    """Return the form of the answer. Raises `RequestError` for one that there is not."""
    match form.type:
        case "text":
            return run_pb2.ResponseFormat(text=run_pb2.TextFormat())
        case "json_object":
            return run_pb2.ResponseFormat(json_object=run_pb2.JsonObjectFormat())
        case "json_schema":
            if form.json_schema is None:
                raise RequestError(
                    "response_format.json_schema is required.",
                    "response_format.json_schema",
                    code="missing_required_parameter",
                )
            schema = run_pb2.JsonSchemaFormat(
                name=form.json_schema.name,
                description=form.json_schema.description or "",
                schema=json_text(form.json_schema.schema),
                strict=form.json_schema.strict,
            )
            return run_pb2.ResponseFormat(json_schema=schema)
        case other:
            raise RequestError(
                f"response_format.type is {other!r}; it must be text, json_object or json_schema.",
                "response_format.type",
                code="invalid_value",
            )
