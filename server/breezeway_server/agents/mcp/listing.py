"""The tools that an MCP server offers, as they are kept."""

import hashlib
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

import mcp_types
import msgspec
from mcp.client import Client

from breezeway_server.agents.config import ApprovalRule
from breezeway_server.agents.mcp.config import McpConfig

_MAX_NAME = 64
_MAX_TOOLS = 1000
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class ListedTool(NamedTuple):
    """A tool of a server: `name` is what models call it, `there` is what the server does.

    `approval` is the server's own rule, None where it has none for this tool.
    """

    name: str
    there: str
    description: str
    parameters: bytes
    approval: ApprovalRule | None


Describe = Callable[[mcp_types.Tool], ListedTool | None]


def describer(server: str, config: McpConfig) -> Describe:
    """What turns the server's own description of a tool into ours; None for tools that its table leaves out."""

    def describe(tool: mcp_types.Tool) -> ListedTool | None:
        if not _any(config.allow, tool.name) or _any(config.deny, tool.name):
            return None
        return ListedTool(
            model_name(server, tool.name),
            tool.name,
            tool.description or tool.title or "",
            msgspec.json.encode(tool.input_schema),
            _approval(config, tool.name),
        )

    return describe


async def list_tools(client: Client, describe: Describe) -> tuple[ListedTool, ...]:
    """All pages of the server's list, as far as a thousand tools."""
    listed: list[ListedTool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        listed += filter(None, map(describe, page.tools))
        if not page.next_cursor or page.next_cursor == cursor or len(listed) >= _MAX_TOOLS:
            return tuple(listed[:_MAX_TOOLS])
        cursor = page.next_cursor


def model_name(server: str, tool: str) -> str:
    """`SERVER__TOOL`; where that is no function's name for models, as near to it as can be and still its own."""
    name = f"{server}__{tool}"
    if len(name) <= _MAX_NAME and not _UNFIT.search(name):
        return name
    mark = hashlib.sha256(tool.encode()).hexdigest()[:8]
    return f"{_UNFIT.sub('_', name)[: _MAX_NAME - 9]}_{mark}"


def _any(patterns: tuple[str, ...], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _approval(config: McpConfig, name: str) -> ApprovalRule | None:
    if not isinstance(config.approval, dict):
        return config.approval
    return next((rule for pattern, rule in config.approval.items() if fnmatchcase(name, pattern)), None)
