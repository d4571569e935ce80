"""The tools of one agent."""

import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.importing import import_attribute
from breezeway_server.agents.tools.base import Tool, ToolSource
from breezeway_server.agents.tools.functions import FunctionTool

_THREADS = 32


class Toolbox:
    """An agent's functions, and what its sources bring. `max_output` bounds a result's text, in characters."""

    def __init__(
        self,
        functions: Sequence[tuple[str, bool]] = (),
        sources: Sequence[ToolSource] = (),
        *,
        key: str,
        max_output: int,
    ) -> None:
        """`functions` are import paths, and whether calls need approval.

        Raises `ConfigError`, beginning with `key` and the path's index, where a path names no function that can be a
        tool.
        """
        self.max_output = max_output
        self._sources = sources
        # A pool of its own: tools that block must not hold up what else the process does in threads.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="tool")
        self._functions: dict[str, Tool] = {}
        for index, (path, needs_approval) in enumerate(functions):
            self._add(path, f"{key}[{index}]", needs_approval=needs_approval)

    def __bool__(self) -> bool:
        return bool(self._functions or self._sources)

    async def tools(self) -> Mapping[str, Tool]:
        """By name: the functions as configured, then what each source has now."""
        tools = dict(self._functions)
        for source in self._sources:
            for tool in await source.tools():
                tools.setdefault(tool.name, tool)
        return tools

    def close(self) -> None:
        """Begin no further function."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _add(self, path: str, key: str, *, needs_approval: bool) -> None:
        function = import_attribute(path, key)
        if not inspect.isfunction(function):
            raise ConfigError(f'{key}: "{path}" is not a function; name one.')
        if function.__name__ in self._functions:
            raise ConfigError(f'{key}: another tool is named "{function.__name__}" too; rename one of them.')
        tool = FunctionTool(function, key, threads=self._threads, needs_approval=needs_approval)
        self._functions[tool.name] = tool
