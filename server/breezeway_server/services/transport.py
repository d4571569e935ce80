"""How the gRPC port treats connections: TLS, keep-alive, and how old they may grow."""

from pathlib import Path
from typing import NamedTuple

import grpc

from breezeway_server.agents.errors import ConfigError
from breezeway_server.config import ServerSettings

Options = tuple[tuple[str, int], ...]


class Transport(NamedTuple):
    """What the port does. Without credentials it speaks plain text; a unix socket always does."""

    credentials: grpc.ServerCredentials | None = None
    options: Options = ()


PLAIN = Transport()


def transport_of(settings: ServerSettings) -> Transport:
    """What the settings ask for. Raises `ConfigError` for files that cannot be read or do not belong together."""
    return Transport(_credentials(settings), _options(settings))


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    cert, key = settings.grpc_tls_cert, settings.grpc_tls_key
    client_ca = settings.grpc_tls_client_ca
    if cert is None or key is None:
        if cert is not None or key is not None or client_ca is not None:
            raise ConfigError("BREEZEWAY_GRPC_TLS_CERT and BREEZEWAY_GRPC_TLS_KEY: are needed both for TLS.")
        return None
    pair = (_read("BREEZEWAY_GRPC_TLS_KEY", key), _read("BREEZEWAY_GRPC_TLS_CERT", cert))
    if client_ca is None:
        return grpc.ssl_server_credentials([pair])
    roots = _read("BREEZEWAY_GRPC_TLS_CLIENT_CA", client_ca)
    return grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=True)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}.") from error


def _options(settings: ServerSettings) -> Options:
    options: Options = (("grpc.keepalive_time_ms", _milliseconds(settings.grpc_keepalive_seconds)),)
    if settings.grpc_max_connection_age_seconds is not None:
        options += (
            ("grpc.max_connection_age_ms", _milliseconds(settings.grpc_max_connection_age_seconds)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(settings.grpc_max_connection_age_grace_seconds)),
        )
    return options


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
