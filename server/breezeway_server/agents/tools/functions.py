"""Python functions as tools, described to the model by their signatures."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, get_type_hints

import msgspec
import structlog

from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.tools.base import Report, ToolError, ToolResult, text_result

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class FunctionTool:
    """A Python function that the model may call by keyword, with arguments as its annotations say.

    `description` is the first paragraph of its docstring, `parameters` the JSON Schema of its arguments as JSON. A
    synchronous function runs in `threads`. A call that is cancelled stops at its next `await`; one in a thread that has
    begun runs on unheard, one that has not never begins.
    """

    def __init__(self, function: Callable[..., Any], key: str, *, threads: Executor, needs_approval: bool) -> None:
        """Raises `ConfigError`, beginning with `key`, where the signature cannot be described."""
        self.name: str = function.__name__
        self.description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        self.needs_approval = needs_approval
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function)
        self._threads = threads
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

    async def call(self, arguments: str, report: Report) -> ToolResult:  # noqa: ARG002 - functions say nothing meanwhile
        """Call the function. What it returns is said as text, or as JSON where it is something else."""
        try:
            returned = await self._invoke(self._decode(arguments))
            return text_result(returned if isinstance(returned, str) else msgspec.json.encode(returned).decode())
        except ToolError as error:
            return text_result(str(error), is_error=True)
        except Exception as error:  # noqa: BLE001 - a tool is foreign code and may raise anything
            # The model is told the kind alone; the text may hold secrets.
            _log.exception("tool failed", tool=self.name)
            return text_result(f"The tool failed ({type(error).__name__}).", is_error=True)

    def _decode(self, arguments: str) -> dict[str, Any]:
        try:
            decoded = msgspec.json.decode(arguments or "{}", type=self._arguments)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise ToolError(f"The arguments do not fit: {error}") from None
        return {field: getattr(decoded, field) for field in self._arguments.__struct_fields__}

    def _invoke(self, arguments: dict[str, Any]) -> Awaitable[Any]:
        if self._is_async:
            awaitable: Awaitable[Any] = self._function(**arguments)
            return awaitable
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: self._function(**arguments))


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
