"""The tools of an MCP server, as one agent has them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from breezeway_server.agents.config import ApprovalRule
from breezeway_server.agents.llm.hiding import hide_in_part
from breezeway_server.agents.mcp.listing import ListedTool
from breezeway_server.agents.mcp.results import to_result
from breezeway_server.agents.mcp.server import McpServer
from breezeway_server.agents.tools.base import Report, ToolError, ToolResult, text_result


class McpTools:
    """A server's tools for an agent: `approval` is the agent's rule; `images` says whether it takes any."""

    def __init__(self, server: McpServer, *, approval: ApprovalRule, images: bool) -> None:
        self._server = server
        self._approval = approval
        self._images = images

    async def tools(self) -> Sequence["McpTool"]:
        """The tools that the server has now, or had when it was last there."""
        return [
            McpTool(
                self._server,
                listed,
                needs_approval=(listed.approval or self._approval) == "required",
                images=self._images,
            )
            for listed in await self._server.tools()
        ]


class McpTool:
    """One tool of a server."""

    def __init__(self, server: McpServer, listed: ListedTool, *, needs_approval: bool, images: bool) -> None:
        self.name = listed.name
        self.description = listed.description
        self.parameters = listed.parameters
        self.needs_approval = needs_approval
        self._server = server
        self._there = listed.there
        self._images = images

    async def call(self, arguments: str, report: Report) -> ToolResult:
        """Call the tool. Where its server is away, too slow or wrong, the model is told so."""
        try:
            decoded: dict[str, Any] = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            return text_result(f"The arguments do not fit: {error}", is_error=True)
        try:
            result = to_result(await self._server.call(self._there, decoded, report), images=self._images)
        except ToolError as error:
            return text_result(str(error), is_error=True)
        return ToolResult(tuple(hide_in_part(self._server.secrets, part) for part in result.content), result.is_error)
