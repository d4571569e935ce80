"""MCP servers as they are configured: the `[mcp.NAME]` tables of the TOML file."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    TypeAdapter,
    ValidationError,
)

from breezeway_server.agents.config import ApprovalRule, Seconds, http_url
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.faults import faults_of

_NAME = re.compile(r"(?!.*__)[A-Za-z0-9_-]{1,32}")


class _ServerConfig(BaseModel):
    """What servers of both kinds can be told. Times are in seconds.

    `allow` and `deny` are names of tools, as the server has them, in which `*` stands for anything; so are the keys of
    `approval` where it is a table, of which the first that fits holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    approval: ApprovalRule | dict[str, ApprovalRule] | None = None
    connect_timeout: Seconds = 30.0
    call_timeout: Seconds = 120.0


class StdioConfig(_ServerConfig):
    """A program that is spoken to over its standard input and output.

    It gets `env`, the variables of this server that `env_from` names, and little else: PATH, HOME and their like.
    """

    command: Annotated[str, Field(min_length=1)]
    args: tuple[str, ...] = ()
    cwd: str | None = None
    env: dict[str, SecretStr] = Field(default_factory=dict)
    env_from: tuple[str, ...] = ()


class HttpConfig(_ServerConfig):
    """A server behind a URL, over streamable HTTP; `api_key_env` names the variable that holds its bearer token."""

    url: Annotated[str, AfterValidator(http_url)]
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    api_key_env: str | None = None


McpConfig = StdioConfig | HttpConfig


def _transport(table: object) -> str | None:
    if not isinstance(table, Mapping) or ("command" in table) == ("url" in table):
        return None
    return "stdio" if "command" in table else "http"


_ADAPTER: TypeAdapter[McpConfig] = TypeAdapter(
    Annotated[
        Annotated[StdioConfig, Tag("stdio")] | Annotated[HttpConfig, Tag("http")],
        Discriminator(
            _transport,
            custom_error_type="transport",
            custom_error_message="needs command (a program) or url (streamable HTTP), one of them",
        ),
    ]
)


def mcp_configs(document: Mapping[str, Any]) -> dict[str, McpConfig]:
    """The servers of `document`, a parsed TOML file. Raises `ConfigError` that names every broken key."""
    tables = document.get("mcp", {})
    if not isinstance(tables, Mapping):
        raise ConfigError("mcp: must be a table; write [mcp.NAME].")
    faults: list[str] = []
    configs: dict[str, McpConfig] = {}
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            faults.append(
                f"mcp.{name}: is no server's name; use letters, digits, hyphens and single underscores, at most 32."
            )
        try:
            configs[name] = _ADAPTER.validate_python(table)
        except ValidationError as error:
            faults += faults_of(f"mcp.{name}", error, tags={"stdio", "http"})
    if faults:
        raise ConfigError("\n".join(faults))
    return configs


def secrets_of(name: str, config: McpConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program, or the headers of a server behind a URL, with what `environ` adds.

    Raises `ConfigError` where a variable that the table names is not set.
    """
    match config:
        case StdioConfig():
            given = {key: value.get_secret_value() for key, value in config.env.items()}
            taken = {key: _variable(key, f"mcp.{name}.env_from", environ) for key in config.env_from}
            return {**taken, **given}
        case HttpConfig():
            headers = {key: value.get_secret_value() for key, value in config.headers.items()}
            if config.api_key_env is not None:
                token = _variable(config.api_key_env, f"mcp.{name}.api_key_env", environ)
                headers.setdefault("Authorization", f"Bearer {token}")
            return headers


def _variable(variable: str, key: str, environ: Mapping[str, str]) -> str:
    if variable not in environ:
        raise ConfigError(f"{key}: the environment variable {variable} is not set; set it, or leave it out.")
    return environ[variable]
