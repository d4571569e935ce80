"""Agents as they are configured: the `[agents.NAME]` tables of the TOML file, and what the environment adds."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from yarl import URL

from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.faults import faults_of, words
from breezeway_server.agents.remote.config import RemoteConfig

OPENAI_BASE_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4.1-mini"
"""What `assistant` asks for where BREEZEWAY_MODEL is not set."""

KINDS = {"demo", "grpc", "llm", "python"}
AGENT_NAME = re.compile(r"[a-z0-9._-]{1,64}")

Seconds = Annotated[float, Field(gt=0)]
ApprovalRule = Literal["required", "never"]


def http_url(text: str) -> str:
    """The URL without a slash at its end. Raises `ValueError` where it is none, or says more than where to call."""
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("is not a URL; write it like https://host/v1") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("is not an http or https URL; write it like https://host/v1")
    if url.user or url.password or url.query_string or url.fragment:
        raise ValueError("must be a plain URL; keys belong into api_key_env")
    return text.rstrip("/")


class _AgentConfig(BaseModel):
    """What agents of every kind can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    aliases: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,128}$")], ...] = ()


class DemoConfig(_AgentConfig):
    """The embedded default; `pace` is the pause between words, in seconds."""

    kind: Literal["demo"]
    pace: Annotated[float, Field(ge=0, le=10)] = 0.02


class SamplingDefaults(BaseModel):
    """How the model writes where the caller does not say; named as in RunSpec.sampling."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    reasoning_effort: str | None = None


class ToolConfig(BaseModel):
    """A Python function as a tool; where it says nothing of approval, the agent's rule holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    approval: ApprovalRule | None = None


def _tool_table(value: Any) -> Any:
    if isinstance(value, str):
        return {"path": value}
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004 - what pydantic takes for a fault of the value
            'must be "module:function", or a table { path = "module:function", approval = "required" }'
        )
    return value


class LlmConfig(_AgentConfig):
    """A model behind an OpenAI-compatible chat-completions endpoint. Times are in seconds.

    `mcp` names servers of the `[mcp.NAME]` tables. `approval` is the rule for the tools that have none of their own.
    """

    kind: Literal["llm"]
    model: Annotated[str, Field(min_length=1)]
    base_url: Annotated[str, AfterValidator(http_url)] = OPENAI_BASE_URL
    api_key_env: str | None = None
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    instructions: str = ""
    tools: tuple[Annotated[ToolConfig, BeforeValidator(_tool_table)], ...] = ()
    mcp: tuple[str, ...] = ()
    approval: ApprovalRule = "never"
    fallback_models: tuple[str, ...] = ()
    max_iterations: Annotated[int, Field(ge=1)] = 90
    max_total_tokens: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    max_tool_output: Annotated[int, Field(ge=1)] = 100_000
    connect_timeout: Seconds = 10.0
    first_token_timeout: Seconds = 120.0
    idle_timeout: Seconds = 60.0
    total_timeout: Seconds = 900.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    retry_backoff: Annotated[float, Field(ge=0, le=60)] = 0.25
    images: bool = True
    files: bool = False
    sampling: SamplingDefaults = SamplingDefaults()


class PythonConfig(_AgentConfig):
    """An async generator function named by `path`. What it takes beyond text has to be said."""

    kind: Literal["python"]
    path: str
    images: bool = False
    files: bool = False
    client_tools: bool = False
    multiple_choices: bool = False
    resumable: bool = False


class GrpcConfig(RemoteConfig, _AgentConfig):
    """A remote `AgentService`; what it takes it says itself, unless it is said here."""

    kind: Literal["grpc"]


AgentConfig = DemoConfig | GrpcConfig | LlmConfig | PythonConfig
AGENT_CONFIG: TypeAdapter[AgentConfig] = TypeAdapter(Annotated[AgentConfig, Field(discriminator="kind")])


def read_document(path: Path) -> dict[str, Any]:
    """The parsed TOML file. Raises `ConfigError` where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; correct --config or BREEZEWAY_CONFIG.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}.") from error


def agent_configs(
    document: Mapping[str, Any], environ: Mapping[str, str], *, source: str = "configuration"
) -> dict[str, AgentConfig]:
    """The agents of `document` (a parsed TOML file, its other tables are not looked at), and what `environ` adds.

    `demo` is always there, `assistant` whenever OPENAI_API_KEY or OPENAI_BASE_URL is set; the document's own
    definition of either name wins. Raises `ConfigError`, beginning with `source`, that names every broken key.
    """
    tables = document.get("agents", {})
    if not isinstance(tables, Mapping):
        raise ConfigError(f"{source}: agents: must be a table; write [agents.NAME].")
    faults: list[str] = []
    configs: dict[str, AgentConfig] = {}
    for name, table in tables.items():
        if not AGENT_NAME.fullmatch(name):
            faults.append(
                f"agents.{name}: is no agent's name; use lower-case letters, digits, dots, underscores and hyphens, "
                "at most 64."
            )
        try:
            configs[name] = AGENT_CONFIG.validate_python(table)
        except ValidationError as error:
            faults += faults_of(f"agents.{name}", error, tags=KINDS)
    if faults:
        raise ConfigError("\n".join(f"{source}: {fault}" for fault in faults))
    return {**_from_environment(environ), **configs}


def _from_environment(environ: Mapping[str, str]) -> dict[str, AgentConfig]:
    configs: dict[str, AgentConfig] = {"demo": DemoConfig(kind="demo")}
    key, base_url = environ.get("OPENAI_API_KEY"), environ.get("OPENAI_BASE_URL")
    if key or base_url:
        try:
            configs["assistant"] = LlmConfig(
                kind="llm",
                model=environ.get("BREEZEWAY_MODEL") or DEFAULT_MODEL,
                base_url=base_url or OPENAI_BASE_URL,
                api_key_env="OPENAI_API_KEY" if key else None,
            )
        except ValidationError as error:
            # Only the URL can be at fault: the other values are checked by nothing but being there.
            raise ConfigError(f"environment: OPENAI_BASE_URL: {words(error.errors()[0])}.") from error
    return configs


def resolve_api_key(name: str, config: LlmConfig, environ: Mapping[str, str]) -> str | None:
    """The agent's key, or None where its upstream needs none. Raises `ConfigError` where it is missing."""
    if config.api_key is not None:
        if config.api_key_env is not None:
            raise ConfigError(f"agents.{name}.api_key: api_key_env is there too; keep one of them.")
        return config.api_key.get_secret_value()
    variable = config.api_key_env
    if variable is None:
        if config.base_url != OPENAI_BASE_URL:
            return None
        # OpenAI's own endpoint always needs a key, and this is its customary place. Other hosts never get it unasked.
        variable = "OPENAI_API_KEY"
    if not environ.get(variable):
        raise ConfigError(
            f"agents.{name}.api_key_env: the environment variable {variable} is not set; set it, or name another."
        )
    return environ[variable]
