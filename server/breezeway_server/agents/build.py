"""From configuration to agents."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from breezeway.v1 import agent_pb2

from breezeway_server.agents.base import Agent
from breezeway_server.agents.build_tools import build_toolbox, mcp_servers
from breezeway_server.agents.config import (
    AgentConfig,
    DemoConfig,
    GrpcConfig,
    LlmConfig,
    PythonConfig,
    SamplingDefaults,
    agent_configs,
    resolve_api_key,
)
from breezeway_server.agents.demo.agent import DemoAgent
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.llm.calls import ModelCaller
from breezeway_server.agents.llm.deadline import Timeouts
from breezeway_server.agents.llm.loop import LlmAgent
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.sessions import UpstreamSession
from breezeway_server.agents.llm.upstream import Upstream
from breezeway_server.agents.python import PythonAgent
from breezeway_server.agents.registry import AgentRegistry, Shared
from breezeway_server.agents.remote.agent import RemoteAgent
from breezeway_server.agents.tools.toolbox import Toolbox


class AgentBuilder:
    """Builds agents, which share connections and the MCP servers of one document."""

    def __init__(self, document: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Raise `ConfigError` where the document's `[mcp.NAME]` tables are wrong."""
        self._environ = environ
        self._session = UpstreamSession()
        self._servers = mcp_servers(document, environ)

    @property
    def shared(self) -> Sequence[Shared]:
        """What the agents share, to be closed after them."""
        return [self._session, *self._servers.values()]

    def build(self, name: str, config: AgentConfig, create_time: datetime) -> Agent:
        """An agent that is ready to run. Needs no event loop and opens no connection. Raises `ConfigError`."""
        info = _info(name, config, create_time)
        match config:
            case DemoConfig():
                return DemoAgent(info, pace=config.pace)
            case GrpcConfig():
                return RemoteAgent.build(info, config, key=f"agents.{name}")
            case PythonConfig():
                return PythonAgent.load(info, config.path, key=f"agents.{name}.path")
            case LlmConfig():
                return _llm(info, config, self._environ, self._session, build_toolbox(name, config, self._servers))


class PreparedAgents(NamedTuple):
    """The agents of a document, and what builds more of them."""

    registry: AgentRegistry
    builder: AgentBuilder


def build_agents(
    document: Mapping[str, Any], environ: Mapping[str, str], *, create_time: datetime, source: str = "configuration"
) -> AgentRegistry:
    """The agents of `document` (a parsed TOML file) and of the environment; see `prepare_agents`."""
    return prepare_agents(document, environ, create_time=create_time, source=source).registry


def prepare_agents(
    document: Mapping[str, Any], environ: Mapping[str, str], *, create_time: datetime, source: str = "configuration"
) -> PreparedAgents:
    """The agents of `document` (a parsed TOML file) and of the environment, ready to run, and their builder.

    `create_time` is when this server first knew them; `source` names the document in errors. Needs no event loop and
    opens no connection. Raises `ConfigError`.
    """
    configs = agent_configs(document, environ, source=source)
    try:
        builder = AgentBuilder(document, environ)
        agents = [builder.build(name, config, create_time) for name, config in configs.items()]
        return PreparedAgents(AgentRegistry(agents, shared=builder.shared), builder)
    except ConfigError as error:
        raise ConfigError("\n".join(f"{source}: {fault}" for fault in str(error).splitlines())) from error


def _llm(
    info: agent_pb2.Agent, config: LlmConfig, environ: Mapping[str, str], session: UpstreamSession, toolbox: Toolbox
) -> LlmAgent:
    key = resolve_api_key(info.name, config, environ)
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    redact = Redactor([*headers.values(), *([key] if key else [])])
    upstream = Upstream(
        config.base_url,
        headers={**({"Authorization": f"Bearer {key}"} if key else {}), **headers},
        timeouts=Timeouts(
            config.connect_timeout, config.first_token_timeout, config.idle_timeout, config.total_timeout
        ),
        redact=redact,
        session=session,
    )
    return LlmAgent(
        info,
        ModelCaller(
            upstream, (config.model, *config.fallback_models), retries=config.retries, backoff=config.retry_backoff
        ),
        instructions=config.instructions,
        defaults=_in_chat_words(config.sampling),
        toolbox=toolbox,
        redact=redact,
        max_iterations=config.max_iterations,
    )


def _in_chat_words(sampling: SamplingDefaults) -> dict[str, Any]:
    values = sampling.model_dump(exclude_none=True)
    if "max_output_tokens" in values:
        values["max_completion_tokens"] = values.pop("max_output_tokens")
    return values


def _info(name: str, config: AgentConfig, create_time: datetime) -> agent_pb2.Agent:
    info = agent_pb2.Agent(
        name=name,
        aliases=config.aliases,
        description=config.description or _description(config),
        kind=config.kind,
        capabilities=_capabilities(config),
    )
    info.create_time.FromDatetime(create_time)
    if isinstance(config, LlmConfig) and config.max_total_tokens is not None:
        info.max_total_tokens = config.max_total_tokens
    return info


def _description(config: AgentConfig) -> str:
    match config:
        case DemoConfig():
            return "Breezeway's demo: no model is behind it, so temperature and its like change nothing."
        case GrpcConfig():
            return ""  # It says so itself.
        case LlmConfig():
            return f"The model {config.model}."
        case PythonConfig():
            return f"The Python function {config.path}."


def _capabilities(config: AgentConfig) -> agent_pb2.AgentCapabilities:
    match config:
        case DemoConfig():
            return agent_pb2.AgentCapabilities(client_tools=True, resumable=True)
        case GrpcConfig():
            return agent_pb2.AgentCapabilities()  # It says so itself.
        case LlmConfig():
            return agent_pb2.AgentCapabilities(
                content_kinds=_kinds(images=config.images, files=config.files),
                client_tools=True,
                multiple_choices=not (config.tools or config.mcp),
                resumable=True,
            )
        case PythonConfig():
            return agent_pb2.AgentCapabilities(
                content_kinds=_kinds(images=config.images, files=config.files),
                client_tools=config.client_tools,
                multiple_choices=config.multiple_choices,
                resumable=config.resumable,
            )


def _kinds(*, images: bool, files: bool) -> Iterable[agent_pb2.ContentKind.ValueType]:
    if images:
        yield agent_pb2.CONTENT_KIND_IMAGE
    if files:
        yield agent_pb2.CONTENT_KIND_FILE
