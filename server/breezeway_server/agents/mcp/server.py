"""One MCP server: connected at first use, and again whenever it was lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

import structlog
from mcp.client import Client, IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    REQUEST_TIMEOUT,
    CallToolResult,
    Implementation,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.mcp.listing import Describe, ListedTool, list_tools
from breezeway_server.agents.mcp.transports import OpenTransport
from breezeway_server.agents.tools.base import Report, ToolError

_MAX_BACKOFF = 30.0
_MAX_LINE = 200

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class McpServer:
    """A server and what it offers. One task, begun at first use and ended by `close`, keeps the connection."""

    def __init__(
        self,
        name: str,
        open_transport: OpenTransport,
        describe: Describe,
        *,
        connect_timeout: float,
        call_timeout: float,
        redact: Redactor,
        backoff: float = 0.5,
    ) -> None:
        """Times are in seconds; `backoff` is the first wait after a failure, and doubles up to half a minute."""
        self._name = name
        self._open_transport = open_transport
        self._describe = describe
        self._connect_timeout = connect_timeout
        self._call_timeout = call_timeout
        self._redact = redact
        self.secrets = redact.secrets
        self._backoff = backoff
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        self._client: Client | None = None
        self._listed: Sequence[ListedTool] = ()
        # Set while a connection is there, or the last attempt to make one has failed.
        self._settled = asyncio.Event()
        self._tried = asyncio.Event()
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    async def tools(self) -> Sequence[ListedTool]:
        """What the server offered last; nothing before it was reached. Waits for the first attempt alone."""
        self._begin()
        if not self._closed:
            await self._tried.wait()
        return self._listed

    async def call(self, tool: str, arguments: dict[str, Any], report: Report) -> CallToolResult:
        """Call a tool by the server's name for it. Raises `ToolError` in words for the model where that fails."""
        client = await self._reach()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            line = message or (f"{progress:g}" if total is None else f"{progress:g} of {total:g}")
            report(" ".join(self.secrets.hide(line).split())[:_MAX_LINE])

        try:
            return await client.call_tool(
                tool, arguments, read_timeout_seconds=self._call_timeout, progress_callback=on_progress
            )
        except MCPError as error:
            raise self._explain(error) from None
        except Exception as error:  # noqa: BLE001 - connections break in many ways, and results may have any form
            _log.exception("MCP tool failed", server=self._name, tool=tool)
            raise ToolError(f"The tool failed ({type(error).__name__}).") from None

    async def close(self) -> None:
        """End the connection, and the program where there is one. Nothing is begun any more."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self._client = None
        self._settled.set()
        self._tried.set()

    async def _reach(self) -> Client:
        """The connection; where it was just lost, the next. Raises `ToolError` where there is none to be had."""
        self._begin()
        if not self._closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._call_timeout):
                    await self._settled.wait()
        if self._client is None:
            raise self._away()
        return self._client

    def _begin(self) -> None:
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep(), name=f"mcp {self._name}")

    async def _keep(self) -> None:
        """Keep a connection, for ever."""
        loop = asyncio.get_running_loop()
        wait = self._backoff
        while True:
            connected_at: float | None = None
            try:
                async with self._connected() as client:
                    connected_at = loop.time()
                    await self._follow(client)
            except Exception as error:  # noqa: BLE001 - transports raise what their libraries do, in groups too
                _log.warning("MCP server lost", server=self._name, error=self._redact(_text_of(error)))
            self._lose()
            self._tried.set()
            if connected_at is None:
                self._settled.set()
            if connected_at is not None and loop.time() - connected_at > _MAX_BACKOFF:
                wait = self._backoff
            # Jitter keeps servers that were lost together from being asked together.
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
            wait = min(2 * wait, _MAX_BACKOFF)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        self._settled.clear()
        self._ended.clear()
        self._changed.clear()
        client = Client(
            self._open_transport(self._lose),
            client_info=Implementation(name="breezeway", version=version("breezeway")),
            message_handler=self._hear,
            read_timeout_seconds=self._connect_timeout,
            cache=None,
        )
        async with asyncio.timeout(self._connect_timeout) as limit, client:
            self._listed = await list_tools(client, self._describe)
            limit.reschedule(None)
            self._client = client
            self._settled.set()
            self._tried.set()
            _log.info("MCP server connected", server=self._name, tools=len(self._listed))
            yield client

    async def _follow(self, client: Client) -> None:
        """Keep the list of tools as new as the server's, until the connection ends."""
        refreshing = asyncio.create_task(self._refresh(client), name=f"mcp {self._name} list")
        ended = asyncio.create_task(self._ended.wait(), name=f"mcp {self._name} end")
        try:
            await asyncio.wait({refreshing, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            refreshing.cancel()
            ended.cancel()
            outcomes = await asyncio.gather(refreshing, ended, return_exceptions=True)
        if isinstance(outcomes[0], Exception):
            raise outcomes[0]

    async def _refresh(self, client: Client) -> None:
        """List the tools anew whenever the server says that they changed, which newer servers do if asked to."""
        offered = client.server_capabilities.tools
        if offered is not None and offered.list_changed and client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            async with client.listen(tools_list_changed=True) as changes:
                # Changes from before the server was listening are in no event.
                self._listed = await list_tools(client, self._describe)
                async for _ in changes:
                    self._listed = await list_tools(client, self._describe)
            return
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._listed = await list_tools(client, self._describe)

    def _lose(self) -> None:
        """The connection is of no use any more; calls wait for the next."""
        self._client = None
        self._settled.clear()
        self._ended.set()

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed.set()

    def _explain(self, error: MCPError) -> ToolError:
        if error.code == REQUEST_TIMEOUT:
            return ToolError(f"The tool did not answer within {self._call_timeout:g} seconds.")
        # A server that was restarted does not know our session any more; the transport has these words for it.
        if error.code == CONNECTION_CLOSED or (error.code == INVALID_REQUEST and error.message == "Session terminated"):
            self._lose()
            return self._away()
        return ToolError(f"The tool failed: {self._redact(error.message)}")

    def _away(self) -> ToolError:
        return ToolError(f'The server "{self._name}" of this tool cannot be reached; try again later.')


def _text_of(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_text_of(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
