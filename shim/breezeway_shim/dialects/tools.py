"""The caller's functions and the choice among them as proto, however deep a dialect nests what it says of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec
from breezeway.v1 import run_pb2

from breezeway_shim.body import json_text
from breezeway_shim.errors import RequestError

_MODES = {
    "auto": run_pb2.TOOL_CHOICE_MODE_AUTO,
    "none": run_pb2.TOOL_CHOICE_MODE_NONE,
    "required": run_pb2.TOOL_CHOICE_MODE_REQUIRED,
}


class Function(Protocol):
    """What a caller says of a function."""

    name: str
    description: str | None
    parameters: msgspec.Raw
    strict: bool | None


class RequestedTool(NamedTuple):
    """A tool; without a function where it is of another type, or lacks it."""

    type: str
    function: Function | None


class NamedTool(NamedTuple):
    """A tool by its name; None where it has none."""

    type: str
    name: str | None


class AllowedTools(NamedTuple):
    """The tools that may be called, and whether one must be."""

    mode: str
    tools: Sequence[NamedTool]


def tools_of(tools: Iterable[RequestedTool]) -> list[run_pb2.Tool]:
    """The caller's functions. Raises `RequestError` for a tool of another type."""
    found = []
    for index, (type_, function) in enumerate(tools):
        if type_ != "function" or function is None:
            raise RequestError(
                f"tools[{index}]: a tool of type {type_!r} is not supported here, only functions are.",
                f"tools[{index}].type",
                code="unsupported_value",
            )
        wanted = run_pb2.FunctionTool(
            name=function.name,
            description=function.description or "",
            parameters=json_text(function.parameters),
            strict=function.strict,
        )
        found.append(run_pb2.Tool(function=wanted))
    return found


def tool_choice_of(choice: str | NamedTool | AllowedTools) -> run_pb2.ToolChoice:
    """Any of the four forms: a word, a named function, a list of allowed ones with `auto` or `required`.

    Raises `RequestError` for another, and for tools that are no functions.
    """
    match choice:
        case str() if choice in _MODES:
            return run_pb2.ToolChoice(mode=_MODES[choice])
        case NamedTool("function", str() as name):
            return run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED, functions=[name], forced=True)
        case AllowedTools(("auto" | "required") as mode, tools) if tools:
            return run_pb2.ToolChoice(mode=_MODES[mode], functions=[_name(tool) for tool in tools])
        case _:
            raise RequestError(
                "tool_choice must be none, auto, required, a function, or allowed_tools with a mode of auto or "
                "required and a list of functions.",
                "tool_choice",
                code="invalid_value",
            )


def _name(tool: NamedTool) -> str:
    if tool.type != "function" or tool.name is None:
        raise RequestError("tool_choice may name functions only.", "tool_choice", code="unsupported_value")
    return tool.name
