"""Where a command finds its server, and who it is there: one way for all commands that call one."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import click
import grpc
from breezeway.client import BreezewayError, Client, Tls
from breezeway.client.channels import metadata_of, open_async_channel

T = TypeVar("T")

FAILED = 1
INTERRUPTED = 130
DEFAULT_TARGET = "127.0.0.1:50051"

_UNREACHABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


@dataclass(frozen=True)
class Connection:
    """A server and how it is called. `chosen` is False where nobody said which server."""

    target: str
    api_key: str | None = None
    tls: Tls | None = None
    chosen: bool = True

    def client(self, *, patience: float = 0.0, on_lost: Callable[[], None] | None = None) -> Client:
        """A client; a server that is lost is waited for `patience` seconds, and `on_lost` called as that begins."""
        return Client(self.target, api_key=self.api_key, tls=self.tls, reconnect_seconds=patience, on_lost=on_lost)

    def async_channel(self) -> grpc.aio.Channel:
        """A channel of asyncio; calls over it need `metadata`."""
        return open_async_channel(self.target, self.tls)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with a call."""
        return metadata_of(self.api_key, None)

    def explain(self, error: BreezewayError) -> str:
        """What is wrong, and what to do, for people."""
        if error.code in _UNREACHABLE and not error.reason:
            tls = "Its certificate must be good for --ca." if self.tls else "One that speaks TLS needs --ca or --tls."
            return (
                f"No Breezeway server answers at {self.target}; start one with `breezeway serve`, or name it with "
                f"--server. {tls}"
            )
        if error.reason == "KEY_MISSING":
            return f"{error.message} (KEY_MISSING) Set BREEZEWAY_API_KEY."
        return f"{error.message} ({error.reason or error.code.name})"


def connected(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that say where its server is and who calls; it gets them as `connection`."""

    @wraps(command)
    def call(
        *args: object,
        server: str | None,
        api_key: str | None,
        tls: bool,
        ca: Path | None,
        cert: Path | None,
        cert_key: Path | None,
        server_name: str | None,
        **kwargs: object,
    ) -> T:
        if (cert is None) != (cert_key is None):
            raise click.UsageError("--cert and --cert-key belong together (BREEZEWAY_GRPC_CERT, BREEZEWAY_GRPC_KEY).")
        secured = tls or ca or cert or server_name
        connection = Connection(
            server or _listening(os.environ.get("BREEZEWAY_GRPC_LISTEN")) or DEFAULT_TARGET,
            api_key=api_key or None,
            tls=Tls(ca, cert, cert_key, server_name or "") if secured else None,
            chosen=server is not None,
        )
        return command(*args, connection=connection, **kwargs)

    for option in reversed(_OPTIONS):
        call = option(call)
    return call


@contextmanager
def told(connection: Connection) -> Iterator[None]:
    """End the process with status 1, saying why, where a call of the block fails."""
    try:
        yield
    except BreezewayError as error:
        click.echo(connection.explain(error), err=True)
        sys.exit(FAILED)


def callable_address(listen: str) -> str:
    """The address at which this machine calls what listens on `listen`: nobody is called at 0.0.0.0."""
    host, _, port = listen.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return listen
    if not address.is_unspecified:
        return listen
    return f"127.0.0.1:{port}" if address.version == 4 else f"[::1]:{port}"


def _listening(listen: str | None) -> str | None:
    return callable_address(listen) if listen else None


_File = click.Path(path_type=Path, exists=True, dir_okay=False)

_OPTIONS = (
    click.option(
        "--server",
        "--target",
        "server",
        metavar="TARGET",
        envvar="BREEZEWAY_GRPC_TARGET",
        help="The server, host:port or unix:/path; also BREEZEWAY_GRPC_TARGET, else where BREEZEWAY_GRPC_LISTEN says.  "
        f"[default: {DEFAULT_TARGET}]",
    ),
    click.option(
        "--key",
        "--api-key",
        "api_key",
        metavar="KEY",
        envvar="BREEZEWAY_API_KEY",
        help="The key to show it. Others on this machine can read arguments: BREEZEWAY_API_KEY is the better place.",
    ),
    click.option("--tls", is_flag=True, help="Call it over TLS, trusting the system's roots."),
    click.option("--ca", type=_File, envvar="BREEZEWAY_GRPC_CA", help="PEM file of whom to trust; means --tls."),
    click.option("--cert", type=_File, envvar="BREEZEWAY_GRPC_CERT", help="PEM file of our certificate; means --tls."),
    click.option("--cert-key", type=_File, envvar="BREEZEWAY_GRPC_KEY", help="PEM file of its key."),
    click.option("--server-name", metavar="NAME", help="The name in the server's certificate; means --tls."),
)
