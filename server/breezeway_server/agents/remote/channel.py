"""Channels to one address of a remote agent."""

import json
from collections.abc import Callable
from pathlib import Path

import grpc

from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.remote.config import TlsConfig

OpenChannel = Callable[[str], grpc.aio.Channel]
"""From an address to a channel; needs an event loop, and connects when it is first used."""

# Where an address is a name with several hosts behind it, the calls go round these too. Health is asked for with the
# empty service name; an endpoint without a health service counts as healthy (gRFC A17).
_SERVICE_CONFIG = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}},
)
# Agents are near and cheap to ask: one that comes back should not wait for the two minutes of grpc's default.
_FIRST_RECONNECT_MS = 100
_LAST_RECONNECT_MS = 2000
# A host that vanishes without a word is found after this and the timeout. Servers answer pings that come more often
# than every five minutes with GOAWAY.
_KEEPALIVE_MS = 330_000
_KEEPALIVE_TIMEOUT_MS = 20_000


def channel_opener(tls: TlsConfig | None, *, connect_timeout: float, max_message_bytes: int, key: str) -> OpenChannel:
    """Return what opens channels with these settings; `connect_timeout` is in seconds.

    Raises `ConfigError`, beginning with `key`, where a file of `tls` cannot be read.
    """
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _LAST_RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", round(connect_timeout * 1000)),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ]
    if tls is None:
        return lambda address: grpc.aio.insecure_channel(address, options=options)
    if (tls.cert is None) != (tls.key is None):
        raise ConfigError(f"{key}: cert and key belong together; set both, or neither.")
    credentials = grpc.ssl_channel_credentials(
        _read(tls.ca, f"{key}.ca"), _read(tls.key, f"{key}.key"), _read(tls.cert, f"{key}.cert")
    )
    if tls.server_name is not None:
        options += [("grpc.ssl_target_name_override", tls.server_name), ("grpc.default_authority", tls.server_name)]
    return lambda address: grpc.aio.secure_channel(address, credentials, options=options)


def _read(path: Path | None, key: str) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read ({error.strerror}); correct the path.") from error
