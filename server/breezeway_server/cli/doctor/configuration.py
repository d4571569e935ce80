"""The configuration: the file and the environment, with every fault named."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breezeway_shim.config import ShimSettings

from breezeway_server.agents.errors import ConfigError
from breezeway_server.cli.configuration import (
    Document,
    read_configuration,
    server_settings,
    shim_settings,
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
        of_shim = {"http_listen": flags.get("http_listen")}
        shim = shim_settings(document or {}, config, of_shim)
    except ConfigError as error:
        findings += _faults(error)
    if not findings:
        findings.append(ok(_CHECK, "the environment alone" if config is None else f"{config} and the environment"))
    findings += _unknown()
    folder = config.parent.resolve() if config is not None else Path.cwd()
    return Setup(source_of(config), folder, document, server, shim), findings


def _unknown() -> list[Finding]:
    """Variables that are set in vain: no start fails for them."""
    settings = {*ServerSettings.model_fields, *ShimSettings.model_fields}
    known = {f"BREEZEWAY_{name.upper()}" for name in settings} | _NAMED
    unknown = [name for name in sorted(os.environ) if name.startswith("BREEZEWAY_") and name not in known]
    advice = "Remove it or correct its spelling."
    return [warn(_CHECK, f"{name}: is not a setting and does nothing.", advice) for name in unknown]


def _faults(error: ConfigError) -> list[Finding]:
    return [fail(_CHECK, line) for line in str(error).splitlines()]
