"""Tools, the choice among them and the form of the answer, as proto."""

from collections.abc import Iterable

from breezeway.v1 import run_pb2

from breezeway_shim.body import json_text
from breezeway_shim.dialects import tools as shared
from breezeway_shim.dialects.chat_completions.schema import NamedTool, ResponseFormat, Tool, ToolChoice
from breezeway_shim.errors import RequestError


def tools_of(tools: Iterable[Tool]) -> list[run_pb2.Tool]:
    """Return the caller's functions. Raises `RequestError` for a tool of another type."""
    return shared.tools_of(shared.RequestedTool(tool.type, tool.function) for tool in tools)


def tool_choice_of(choice: str | ToolChoice) -> run_pb2.ToolChoice:
    """Return any of the four forms. Raises `RequestError` for another, and for tools that are no functions."""
    if isinstance(choice, str):
        return shared.tool_choice_of(choice)
    if choice.type == "allowed_tools" and choice.allowed_tools is not None:
        named = [_named(tool) for tool in choice.allowed_tools.tools]
        return shared.tool_choice_of(shared.AllowedTools(choice.allowed_tools.mode, named))
    return shared.tool_choice_of(_named(choice))


def _named(tool: NamedTool | ToolChoice) -> shared.NamedTool:
    return shared.NamedTool(tool.type, None if tool.function is None else tool.function.name)


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
