"""The agent's own tools: Python functions, described to the model by their signatures."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

import msgspec
import structlog

from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.importing import import_attribute

_THREADS = 32
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class ToolError(Exception):
    """Raised by a tool to tell the model, in the exception's own words, what went wrong."""


class FunctionTool:
    """A Python function that the model may call by keyword, with arguments as its annotations say.

    `description` is the first paragraph of its docstring, `parameters` the JSON Schema of its arguments as JSON.
    """

    def __init__(self, function: Callable[..., Any], key: str) -> None:
        self.name: str = function.__name__
        self.description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        self.is_async = inspect.iscoroutinefunction(function)
        self.function = function
        try:
            self._arguments = _arguments_type(function)
            schema = msgspec.json.schema(self._arguments)
        except (TypeError, NameError) as error:
            raise ConfigError(f"{key}: the signature of {self.name} has no JSON Schema: {error}.") from error
        # One object without names around it: some upstreams do not follow a reference at the top.
        definitions = schema.pop("$defs", {})
        top: dict[str, Any] = definitions.pop(self._arguments.__name__)
        top.pop("title", None)
        self.parameters = msgspec.json.encode({**top, "$defs": definitions} if definitions else top)

    def decode(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments. Raises `ToolError` where the model's text does not fit."""
        try:
            decoded = msgspec.json.decode(arguments or "{}", type=self._arguments)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise ToolError(f"The arguments do not fit: {error}") from None
        return {field: getattr(decoded, field) for field in self._arguments.__struct_fields__}


class Toolbox:
    """The tools of one agent, by name, and the threads that its synchronous ones run in."""

    def __init__(self, tools: Sequence[FunctionTool], *, max_output: int) -> None:
        self._tools: Mapping[str, FunctionTool] = {tool.name: tool for tool in tools}
        self._max_output = max_output
        # A pool of its own: tools that block must not hold up what else the process does in threads.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tool")

    @classmethod
    def load(cls, paths: Sequence[str], *, key: str, max_output: int) -> "Toolbox":
        """The functions at these import paths. Raises `ConfigError`, beginning with `key` and the path's index."""
        tools: list[FunctionTool] = []
        for index, path in enumerate(paths):
            where = f"{key}[{index}]"
            function = import_attribute(path, where)
            if not inspect.isfunction(function):
                raise ConfigError(f'{where}: "{path}" is not a function; name one.')
            if any(tool.name == function.__name__ for tool in tools):
                raise ConfigError(f'{where}: another tool is named "{function.__name__}" too; rename one of them.')
            tools.append(FunctionTool(function, where))
        return cls(tools, max_output=max_output)

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def __bool__(self) -> bool:
        return bool(self._tools)

    @property
    def tools(self) -> Sequence[FunctionTool]:
        """As configured, in order."""
        return list(self._tools.values())

    async def call(self, name: str, arguments: str) -> tuple[str, bool]:
        """What the tool says to the model, and whether that is an error.

        Never raises for what the tool does; its text is cut to the agent's limit. A tool that is cancelled stops at
        its next `await`; one in a thread that has begun runs on unheard, one that has not never begins.
        """
        tool = self._tools.get(name)
        if tool is None:
            return f'There is no tool named "{name}".', True
        try:
            text = _to_text(await self._invoke(tool, tool.decode(arguments)))
        except ToolError as error:
            return self._cut(str(error)), True
        except Exception as error:  # noqa: BLE001 - a tool is foreign code and may raise anything
            # The model is told the kind alone; the text may hold secrets.
            _log.exception("tool failed", tool=name)
            return f"The tool failed ({type(error).__name__}).", True
        return self._cut(text), False

    def close(self) -> None:
        """Begin no further tool."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _invoke(self, tool: FunctionTool, arguments: dict[str, Any]) -> Awaitable[Any]:
        if tool.is_async:
            awaitable: Awaitable[Any] = tool.function(**arguments)
            return awaitable
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: tool.function(**arguments))

    def _cut(self, text: str) -> str:
        if len(text) <= self._max_output:
            return text
        return f"{text[: self._max_output]}\n[cut: {len(text)} characters in all]"


def _to_text(result: Any) -> str:
    return result if isinstance(result, str) else msgspec.json.encode(result).decode()


def _arguments_type(function: Callable[..., Any]) -> type[msgspec.Struct]:
    hints = get_type_hints(function, include_extras=True)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _POSITIONAL:
            raise TypeError(f"parameter {parameter.name} cannot be given by name")
        hint = hints.get(parameter.name, Any)
        if parameter.default is inspect.Parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, _default(parameter.default)))
    return msgspec.defstruct(f"{function.__name__}_arguments", fields, kw_only=True, forbid_unknown_fields=True)


def _default(value: Any) -> Any:
    # The same object each time, as Python itself does it; a factory is what msgspec asks for where it could change.
    return msgspec.field(default_factory=lambda: value) if isinstance(value, list | dict | set) else value
