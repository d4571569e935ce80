"""TLS on both sides of the shim: towards its callers, and towards its server."""

import ssl
from pathlib import Path

import grpc

from breezeway_shim.config import ShimSettings


class BadTls(Exception):
    """Files for TLS that are missing, cannot be read, or do not belong together; the message names the setting."""


def http_context(settings: ShimSettings) -> ssl.SSLContext | None:
    """What HTTP is served with; None for plain HTTP. Raises `BadTls`."""
    cert, key = settings.http_tls_cert, settings.http_tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise BadTls("BREEZEWAY_HTTP_TLS_CERT and BREEZEWAY_HTTP_TLS_KEY: are needed both for TLS.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise BadTls(f"BREEZEWAY_HTTP_TLS_CERT: {cert} and {key} cannot be used: {error.strerror}.") from error
    return context


def channel_credentials(settings: ShimSettings) -> grpc.ChannelCredentials | None:
    """How the server is called; None for plain text, as over a unix socket. Raises `BadTls`."""
    ca, cert, key = settings.grpc_ca, settings.grpc_cert, settings.grpc_key
    if (cert is None) != (key is None):
        raise BadTls("BREEZEWAY_GRPC_CERT and BREEZEWAY_GRPC_KEY: belong together.")
    if ca is None:
        if cert is not None:
            raise BadTls("BREEZEWAY_GRPC_CA: says whom to trust, and is needed with a certificate of our own.")
        return None
    roots = _read("BREEZEWAY_GRPC_CA", ca)
    if settings.grpc_target.startswith("unix:"):
        return None
    if cert is None or key is None:
        return grpc.ssl_channel_credentials(roots)
    return grpc.ssl_channel_credentials(roots, _read("BREEZEWAY_GRPC_KEY", key), _read("BREEZEWAY_GRPC_CERT", cert))


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadTls(f"{setting}: {path} cannot be read: {error.strerror}.") from error
