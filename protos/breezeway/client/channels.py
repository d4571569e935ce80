"""How the client reaches the server: channel options, TLS, and who is calling."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import grpc

OPTIONS = (
    # Messages are bounded where they are made; a limit here would only fail later and say less.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that was restarted is found again at once, not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Despite its name: how long one attempt may take, handshakes included. A server that is far or busy needs a while.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A server whose machine is gone says nothing; without these its streams would stay quiet for ever.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

Metadata = tuple[tuple[str, str], ...]


class Tls(NamedTuple):
    """Files in PEM form: `ca` is whom to trust (else the system's roots), `cert` and `key` are what we show.

    `server_name` is the name in the server's certificate, where it is not the one that is called.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError, and ValueError where only one of `cert` and `key` is given."""
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together")
        return grpc.ssl_channel_credentials(
            *(path.read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        )

    def options(self) -> tuple[tuple[str, str], ...]:
        """What the channel is told beside them."""
        return (("grpc.ssl_target_name_override", self.server_name),) if self.server_name else ()


def open_channel(target: str, tls: Tls | None) -> grpc.Channel:
    """A channel to the server; plain text without `tls`. Raises as `Tls.credentials` does."""
    if tls is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, tls.credentials(), options=(*OPTIONS, *tls.options()))


def open_async_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    """The same for asyncio; made inside the running loop."""
    if tls is None:
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    return grpc.aio.secure_channel(target, tls.credentials(), options=(*OPTIONS, *tls.options()))


def metadata_of(api_key: str | None, headers: Mapping[str, str] | None) -> Metadata:
    """What goes along with every call: the key, and whatever else the caller wants the server to know."""
    pairs = [(name.lower(), value) for name, value in (headers or {}).items()]
    if api_key is not None:
        pairs.append(("authorization", f"Bearer {api_key}"))
    return tuple(pairs)
