"""Parameters of a response request that a run has in another shape: tools, the choice among them, the text format."""

from collections.abc import Iterable

from breezeway.v1 import run_pb2

from breezeway_shim.body import json_text
from breezeway_shim.dialects import tools as shared
from breezeway_shim.dialects.responses.schema import TextFormat, Tool, ToolChoice
from breezeway_shim.errors import RequestError


def tools_of(tools: Iterable[Tool]) -> list[run_pb2.Tool]:
    """The caller's functions. Raises `RequestError` for a tool of another type, and for what no other model knows."""
    tools = list(tools)
    for index, tool in enumerate(tools):
        for name in ("allowed_callers", "defer_loading", "output_schema"):
            if tool.type == "function" and getattr(tool, name):
                place = f"tools[{index}].{name}"
                raise RequestError(f"{place} is not supported here.", place, code="unsupported_parameter")
    return shared.tools_of(shared.RequestedTool(tool.type, tool) for tool in tools)


def tool_choice_of(choice: str | ToolChoice) -> run_pb2.ToolChoice:
    """Any of the four forms. Raises `RequestError` for another, and for tools that are no functions."""
    if isinstance(choice, str):
        return shared.tool_choice_of(choice)
    if choice.type == "allowed_tools":
        named = [_named(tool) for tool in choice.tools or ()]
        return shared.tool_choice_of(shared.AllowedTools(choice.mode or "", named))
    return shared.tool_choice_of(_named(choice))


def text_format_of(form: TextFormat) -> run_pb2.ResponseFormat:
    """The form of the answer. Raises `RequestError` for one that there is not."""
    match form.type:
        case "text":
            return run_pb2.ResponseFormat(text=run_pb2.TextFormat())
        case "json_object":
            return run_pb2.ResponseFormat(json_object=run_pb2.JsonObjectFormat())
        case "json_schema":
            schema = json_text(form.schema)
            for name, value in (("name", form.name), ("schema", schema)):
                if not value:
                    raise RequestError(
                        f"text.format.{name} is required.", f"text.format.{name}", code="missing_required_parameter"
                    )
            return run_pb2.ResponseFormat(
                json_schema=run_pb2.JsonSchemaFormat(
                    name=form.name or "", description=form.description or "", schema=schema, strict=form.strict
                )
            )
        case other:
            raise RequestError(
                f"text.format.type is {other!r}; it must be text, json_object or json_schema.",
                "text.format.type",
                code="invalid_value",
            )


def _named(tool: Tool | ToolChoice) -> shared.NamedTool:
    return shared.NamedTool(tool.type, tool.name or None)
