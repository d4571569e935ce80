"""How MCP servers are reached."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client

from breezeway_server.agents.mcp.config import HttpConfig, McpConfig, StdioConfig
from breezeway_server.agents.mcp.stdio import MAX_MESSAGE, OnEnd, run_program

OpenTransport = Callable[[OnEnd], Transport]
"""Opens a connection, and calls back once nothing more comes over it."""


def transport_of(config: McpConfig, secrets: Mapping[str, str]) -> OpenTransport:
    """How the server of this table is reached; `secrets` are its environment or its headers."""
    match config:
        case StdioConfig():
            return lambda on_end: run_program(
                config.command, config.args, environ=secrets, directory=config.cwd, on_end=on_end
            )
        case HttpConfig():
            # The end needs no watching for here: a connection that breaks takes the whole client with it.
            return lambda _: _http(config, secrets)


@asynccontextmanager
async def _http(config: HttpConfig, headers: Mapping[str, str]) -> AsyncIterator[Any]:
    # Any: the package has no public name for what its transports yield.
    # Calls have a limit of their own, and a stream of notifications may be quiet for ever.
    timeout = httpx2.Timeout(config.connect_timeout, read=None)
    async with (
        httpx2.AsyncClient(headers=dict(headers), timeout=timeout) as client,
        streamable_http_client(config.url, http_client=client, max_sse_event_size=MAX_MESSAGE) as (read, write),
    ):
        yield read, write
