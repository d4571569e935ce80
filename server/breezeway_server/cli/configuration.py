"""What the commands read before they start: the TOML file, and the settings of server and shim in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from breezeway_server.agents.config import read_document
from breezeway_server.agents.errors import ConfigError
from breezeway_server.config import ServerSettings, load_settings

_TABLES = frozenset({"agents", "mcp", "server", "shim"})

Document = Mapping[str, Any]


def source_of(config: Path | None) -> str:
    """What errors call the place of the configuration."""
    return "configuration" if config is None else str(config)


def read_configuration(config: Path | None) -> Document:
    """The parsed file; nothing where there is none. Raises `ConfigError`."""
    if config is None:
        return {}
    document = read_document(config)
    unknown = sorted(set(document) - _TABLES)
    if unknown:
        raise ConfigError(f"{config}: {unknown[0]}: is not a table; there are server, shim, agents and mcp.")
    return document


def server_settings(document: Document, config: Path | None, flags: Mapping[str, Any]) -> ServerSettings:
    """The server's settings; a flag that is None was not given. Raises `ConfigError` that names every fault."""
    table = document.get("server", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{source_of(config)}: server: must be a table; write [server].")
    given = {name: value for name, value in flags.items() if value is not None}
    return load_settings(table, given, source_of(config))


def shim_variables(document: Document, config: Path | None) -> dict[str, str]:
    """The `[shim]` table as the environment of a shim, which knows no files. Raises `ConfigError`."""
    table = document.get("shim", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{source_of(config)}: shim: must be a table; write [shim].")
    return {f"BREEZEWAY_{name.upper()}": str(value) for name, value in table.items()}
