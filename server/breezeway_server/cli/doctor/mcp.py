"""MCP servers: whether each can be begun or reached, and what it offers."""

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

from mcp.client import Client
from mcp_types import Implementation

from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.mcp.config import McpConfig, StdioConfig, secrets_of
from breezeway_server.agents.mcp.listing import describer, list_tools
from breezeway_server.agents.mcp.transports import transport_of
from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn


async def check_mcp(name: str, config: McpConfig, environ: Mapping[str, str]) -> list[Finding]:
    """Begin or reach the server, list its tools, and end it."""
    check = f"MCP server {name}"
    secrets = secrets_of(name, config, environ)
    try:
        async with (
            asyncio.timeout(config.connect_timeout),
            Client(
                transport_of(config, secrets)(_ended),
                client_info=Implementation(name="breezeway-doctor", version=version("breezeway")),
                read_timeout_seconds=config.connect_timeout,
                cache=None,
            ) as client,
        ):
            tools = await list_tools(client, describer(name, config))
    except TimeoutError:
        advice = f"Raise mcp.{name}.connect_timeout where it is only slow."
        return [fail(check, f"It did not answer within {config.connect_timeout:g} seconds.", advice)]
    except Exception as error:  # noqa: BLE001 - transports raise what their libraries do, in groups too
        what = f"mcp.{name}.{'command' if isinstance(config, StdioConfig) else 'url'}"
        said = Redactor(secrets.values())(_text_of(error))
        return [fail(check, f"It cannot be reached ({said}).", f"Correct {what}, or start it.")]
    if not tools:
        return [warn(check, "It offers no tools.", f"See mcp.{name}.allow and deny, and the server itself.")]
    return [ok(check, f"It offers {len(tools)} tools: {', '.join(tool.there for tool in tools)}.")]


def _ended() -> None:
    """The connection is used at once and no more: what was asked fails where it ends."""


def _text_of(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_text_of(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
