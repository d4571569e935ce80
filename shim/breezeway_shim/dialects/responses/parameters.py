"""Parameters of a response request that a run has in another shape: tools, the choice among them, the text format."""

from collections.abc import Iterable

from breezeway.v1 import run_pb2

from breezeway_shim.dialects.chat_completions import schema as chat
from breezeway_shim.dialects.chat_completions import tools as chat_tools
from breezeway_shim.dialects.responses.schema import TextFormat, Tool, ToolChoice
from breezeway_shim.errors import RequestError


def tools_of(tools: Iterable[Tool]) -> list[run_pb2.Tool]:
    """The caller's functions. Raises `RequestError` for a tool of another type."""
    return chat_tools.tools_of(_nested(tool) for tool in tools)


def tool_choice_of(choice: str | ToolChoice) -> run_pb2.ToolChoice:
    """Any of the four forms. Raises `RequestError` for another, and for tools that are no functions."""
    if isinstance(choice, str):
        return chat_tools.tool_choice_of(choice)
    if choice.type == "allowed_tools":
        named = [_named(tool.type, tool.name) for tool in choice.tools or ()]
        allowed = chat.AllowedTools(mode=choice.mode or "", tools=named)
        return chat_tools.tool_choice_of(chat.ToolChoice(type=choice.type, allowed_tools=allowed))
    return chat_tools.tool_choice_of(
        chat.ToolChoice(type=choice.type, function=_named(choice.type, choice.name).function)
    )


def text_format_of(form: TextFormat) -> run_pb2.ResponseFormat:
    """The form of the answer. Raises `RequestError` for one that there is not."""
    match form.type:
        case "text":
            return run_pb2.ResponseFormat(text=run_pb2.TextFormat())
        case "json_object":
            return run_pb2.ResponseFormat(json_object=run_pb2.JsonObjectFormat())
        case "json_schema":
            schema = chat_tools.json_text(form.schema)
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


def _nested(tool: Tool) -> chat.Tool:
    """A tool as Chat Completions writes it."""
    if tool.type != "function":
        return chat.Tool(type=tool.type)
    function = chat.Function(tool.name, tool.description, tool.parameters, tool.strict)
    return chat.Tool(type=tool.type, function=function)


def _named(type_: str, name: str | None) -> chat.NamedTool:
    return chat.NamedTool(type=type_, function=chat.NamedFunction(name) if name else None)
