"""What the commands read before they start: the TOML file, and the settings of server and shim in it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from breezeway_server.agents.config import read_document
from breezeway_server.agents.errors import ConfigError
from breezeway_server.config import ServerSettings, load_settings, settings_faults, unknown_settings

if TYPE_CHECKING:
    from breezeway_shim.config import ShimSettings

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


def shim_settings(document: Document, config: Path | None, flags: Mapping[str, Any]) -> "ShimSettings":
    """The shim's settings, as `server_settings` gives the server's. Raises `ConfigError` that names every fault."""
    from breezeway_shim.config import ShimSettings  # noqa: PLC0415 - the server must not load the shim

    variables = shim_variables(document, config)
    place = f"{source_of(config)}: shim"
    unknown = unknown_settings(document.get("shim", {}), ShimSettings, place)
    of_file = {
        name: variables[variable]
        for name in ShimSettings.model_fields
        if (variable := f"BREEZEWAY_{name.upper()}") in variables and variable not in os.environ
    }
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = ShimSettings(**of_file | given)
    except ValidationError as error:
        raise ConfigError("\n".join([*unknown, *settings_faults(error, given, place)])) from error
    if unknown:
        raise ConfigError("\n".join(unknown))
    return settings


def shim_variables(document: Document, config: Path | None) -> dict[str, str]:
    """The `[shim]` table as the environment of a shim, which knows no files. Raises `ConfigError`."""
    table = document.get("shim", {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{source_of(config)}: shim: must be a table; write [shim].")
    return {f"BREEZEWAY_{name.upper()}": str(value) for name, value in table.items()}
