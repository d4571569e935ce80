"""An MCP server for tests, as a process: over stdio, or over streamable HTTP on a port that it prints."""

import argparse
import asyncio
import base64
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import EmbeddedResource, TextResourceContents

from tests.support.patience import PATIENCE
from tests.support.system import ReservedPort

_ROOT = Path(__file__).parents[2]
_MODULE = "tests.support.mcp_servers"
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

server = MCPServer("tests", log_level="ERROR")
_cancelled = asyncio.Event()


def stdio_table(**keys: object) -> dict[str, object]:
    """The `[mcp.NAME]` table of this server over stdio."""
    command = {"command": sys.executable, "args": ["-m", _MODULE, "stdio"], "cwd": str(_ROOT)}
    return {**command, "connect_timeout": PATIENCE, **keys}


class HttpServer:
    """The server over streamable HTTP, which can be stopped and started again at its URL."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process: Process | None = None
        self.url = f"http://127.0.0.1:{port}/mcp"

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[Self]:
        with ReservedPort.reserved() as port:
            http = cls(port.number)
            await http.start()
            try:
                yield http
            finally:
                await http.stop()

    async def start(self) -> None:
        arguments = ["-m", _MODULE, "http", "--port", str(self._port)]
        self._process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=_ROOT, stderr=PIPE)
        assert self._process.stderr is not None
        while b"running on" not in (line := await self._process.stderr.readline()):
            assert line, "the server ended before it was ready"

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None


@server.tool()
def add(a: int, b: int) -> str:
    """Adds two numbers."""
    return str(a + b)


@server.tool(name="with.dots")
def dotted() -> str:
    return "dotted"


@server.tool()
def fails() -> str:
    raise ValueError("no such thing")


@server.tool()
def big(size: int) -> str:
    return "x" * size


@server.tool()
def picture() -> Image:
    return Image(data=_PIXEL, format="png")


@server.tool()
def page() -> list[EmbeddedResource]:
    contents = TextResourceContents(uri="memo://one", text="a memo", mime_type="text/plain")
    return [EmbeddedResource(type="resource", resource=contents)]


@server.tool()
def variable(name: str) -> str:
    return os.environ.get(name, "")


@server.tool()
async def waits(ctx: Context) -> str:
    """Waits for ever."""
    await ctx.report_progress(1, 2, "half\nway")
    try:
        await asyncio.Event().wait()
    finally:
        _cancelled.set()
    return "never"


@server.tool()
async def cancelled() -> str:
    """Answers once a call of `waits` was cancelled."""
    await _cancelled.wait()
    return "cancelled"


@server.tool()
async def grow(ctx: Context) -> str:
    """Adds a tool."""
    server.add_tool(lambda: "new", name="grown", description="Was not there before.")
    await ctx.notify_tools_changed()
    return "grown"


@server.tool()
def dies() -> str:
    os._exit(3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An MCP server for tests.")
    parser.add_argument("transport", choices=["stdio", "http"])
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.transport == "http":
        server.settings.log_level = "INFO"
        server.run("streamable-http", port=arguments.port)
    else:
        server.run("stdio")
