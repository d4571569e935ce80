"""The configuration: the file and the environment, with every fault named."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breezeway_shim.config import ShimSettings
from pydantic import ValidationError

from breezeway_server.agents.errors import ConfigError
from breezeway_server.cli.configuration import (
    Document,
    read_configuration,
    server_settings,
    shim_variables,
    source_of,
)
from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn
from breezeway_server.config import ServerSettings

_CHECK = "configuration"
# Read by name, and not by a class of settings.
_NAMED = frozenset({"BREEZEWAY_CONFIG", "BREEZEWAY_API_KEY", "BREEZEWAY_MODEL"})


@dataclass(frozen=True)
class Setup:
    """What is configured; None for what cannot be read."""

    source: str
    folder: Path
    document: Document | None
    server: ServerSettings | None
    shim: ShimSettings | None


def check_configuration(config: Path | None, flags: Mapping[str, Any]) -> tuple[Setup, list[Finding]]:
    """What is configured by the file, the environment and `flags` (of which those that are None were not given)."""
    findings: list[Finding] = []
    document: Document | None = None
    server: ServerSettings | None = None
    shim: ShimSettings | None = None
    try:
        document = read_configuration(config)
    except ConfigError as error:
        findings += _faults(error)
    try:
        server = server_settings(document or {}, config, flags)
    except ConfigError as error:
        findings += _faults(error)
    try:
        shim = _shim_settings(document or {}, config, flags)
    except ConfigError as error:
        findings += _faults(error)
    if not findings:
        findings.append(ok(_CHECK, "the environment alone" if config is None else f"{config} and the environment"))
    findings += _unknown(document or {}, config)
    folder = config.parent.resolve() if config is not None else Path.cwd()
    return Setup(source_of(config), folder, document, server, shim), findings


def _shim_settings(document: Document, config: Path | None, flags: Mapping[str, Any]) -> ShimSettings:
    """The shim's settings. Raises `ConfigError` that names every fault."""
    variables = shim_variables(document, config)
    given: dict[str, Any] = {
        name: variables[f"BREEZEWAY_{name.upper()}"]
        for name in ShimSettings.model_fields
        if f"BREEZEWAY_{name.upper()}" in variables.keys() - os.environ.keys()
    }
    if flags.get("http_listen") is not None:
        given["http_listen"] = flags["http_listen"]
    try:
        return ShimSettings(**given)
    except ValidationError as error:
        faults = []
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            where = f"{source_of(config)}: shim.{name}" if name in given else f"BREEZEWAY_{name.upper()}"
            faults.append(f"{where}: {detail['msg']}.")
        raise ConfigError("\n".join(faults)) from error


def _unknown(document: Document, config: Path | None) -> list[Finding]:
    """What is said in vain: no start fails for it."""
    settings = {*ServerSettings.model_fields, *ShimSettings.model_fields}
    known = {f"BREEZEWAY_{name.upper()}" for name in settings} | _NAMED
    places = [name for name in sorted(os.environ) if name.startswith("BREEZEWAY_") and name not in known]
    table = document.get("shim", {})
    if isinstance(table, Mapping):
        places += [f"{source_of(config)}: shim.{name}" for name in table if name not in ShimSettings.model_fields]
    advice = "Remove it or correct its spelling."
    return [warn(_CHECK, f"{place}: is not a setting and does nothing.", advice) for place in places]


def _faults(error: ConfigError) -> list[Finding]:
    return [fail(_CHECK, line) for line in str(error).splitlines()]
