"""What a profile may say: the keys of an `[agents.NAME]` table, but for those that name code."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from breezeway_server.agents.config import AGENT_CONFIG, AGENT_NAME, KINDS, AgentConfig, LlmConfig
from breezeway_server.agents.faults import path_of, words
from breezeway_server.errors import InvalidRequest

_ALLOWED_KINDS = ("grpc", "llm")
_SECRETS = ("api_key", "headers")
# Where secrets are sent to.
_DESTINATIONS = ("base_url", "endpoints")


def check_name(name: str) -> None:
    """Raise `InvalidRequest` where no agent can have the name."""
    if not AGENT_NAME.fullmatch(name):
        raise InvalidRequest(
            "name", "name must be lower-case letters, digits, dots, underscores and hyphens, at most 64."
        )


def check_config(config: Mapping[str, Any]) -> AgentConfig:
    """Return the configuration, read. Raises `InvalidRequest` that names the first key at fault."""
    if config.get("kind") not in _ALLOWED_KINDS:
        raise InvalidRequest("config.kind", 'config.kind must be "llm" or "grpc"; other kinds name code of the server.')
    if config.get("tools"):
        raise InvalidRequest("config.tools", "config.tools names code of the server; it is for the file alone.")
    try:
        checked = AGENT_CONFIG.validate_python(dict(config))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        path = f"config{path_of(detail, KINDS)}"
        raise InvalidRequest(path, f"{path}: {words(detail)}.") from None
    if isinstance(checked, LlmConfig):
        _check_key(checked)
    return checked


def _check_key(config: LlmConfig) -> None:
    if config.api_key is not None and config.api_key_env is not None:
        raise InvalidRequest("config.api_key", "config.api_key: api_key_env is there too; keep one of them.")
    if config.api_key_env is not None and config.api_key_env.startswith("BREEZEWAY"):
        raise InvalidRequest("config.api_key_env", "config.api_key_env names a setting of the server; name another.")


def split(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what may be shown, and the secrets."""
    shown = {key: value for key, value in config.items() if key not in _SECRETS}
    return shown, {key: config[key] for key in _SECRETS if config.get(key)}


def paths_of(secrets: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the secrets: `api_key`, `headers.X-Team`."""
    headers = [f"headers.{name}" for name in sorted(secrets.get("headers", {}))]
    return ("api_key", *headers) if "api_key" in secrets else tuple(headers)


def merged(config: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the keys of `change`; null takes one away.

    Secrets go nowhere that they were not meant for: a new destination comes with its own.
    """
    kept = dict(config)
    if any(key in change and change[key] != config.get(key) for key in _DESTINATIONS):
        kept = split(kept)[0]
    return {key: value for key, value in {**kept, **change}.items() if value is not None}
