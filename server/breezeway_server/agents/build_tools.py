"""From configuration to the tools of an agent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from breezeway_server.agents.config import LlmConfig
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.mcp.config import mcp_configs, secrets_of
from breezeway_server.agents.tools.base import ToolSource
from breezeway_server.agents.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from breezeway_server.agents.mcp.server import McpServer


def mcp_servers(document: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, "McpServer"]:
    """The servers of the document's `[mcp.NAME]` tables, none of them begun. Raises `ConfigError`."""
    configs = mcp_configs(document)
    if not configs:
        return {}
    # The package takes a second to load, which only those pay who have such servers.
    from breezeway_server.agents.mcp.listing import describer  # noqa: PLC0415 - see above
    from breezeway_server.agents.mcp.server import McpServer  # noqa: PLC0415 - see above
    from breezeway_server.agents.mcp.transports import transport_of  # noqa: PLC0415 - see above

    servers: dict[str, McpServer] = {}
    for name, config in configs.items():
        secrets = secrets_of(name, config, environ)
        servers[name] = McpServer(
            name,
            transport_of(config, secrets),
            describer(name, config),
            connect_timeout=config.connect_timeout,
            call_timeout=config.call_timeout,
            redact=Redactor(secrets.values()),
        )
    return servers


def build_toolbox(name: str, config: LlmConfig, servers: Mapping[str, "McpServer"]) -> Toolbox:
    """The tools of the agent of that name. Raises `ConfigError`."""
    return Toolbox(
        [(tool.path, (tool.approval or config.approval) == "required") for tool in config.tools],
        [
            _source(server, config, servers, key=f"agents.{name}.mcp[{index}]")
            for index, server in enumerate(config.mcp)
        ],
        key=f"agents.{name}.tools",
        max_output=config.max_tool_output,
    )


def _source(name: str, config: LlmConfig, servers: Mapping[str, "McpServer"], *, key: str) -> ToolSource:
    if name not in servers:
        raise ConfigError(f"{key}: there is no table [mcp.{name}]; add it, or correct the name.")
    from breezeway_server.agents.mcp.tools import McpTools  # noqa: PLC0415 - see `mcp_servers`

    return McpTools(servers[name], approval=config.approval, images=config.images)
