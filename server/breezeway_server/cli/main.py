"""The commands, and what they read before they start."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import click
from breezeway.telemetry.logs import configure_logging

from breezeway_server.agents.errors import ConfigError
from breezeway_server.cli.agent import agent
from breezeway_server.cli.configuration import (
    Document,
    read_configuration,
    server_settings,
    shim_settings,
    shim_variables,
    source_of,
)
from breezeway_server.cli.connection import Connection, connected
from breezeway_server.cli.keys import keys
from breezeway_server.cli.listening import taken
from breezeway_server.cli.runs import runs
from breezeway_server.cli.supervise import BAD_CONFIGURATION, CANNOT_LISTEN, HTTP_LISTEN, supervise
from breezeway_server.config import ServerSettings
from breezeway_server.exposure import check_exposure

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="BREEZEWAY_CONFIG",
    help="TOML file with agents and settings.",
)
_data_dir = click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the store lies.")
_grpc_listen = click.option("--grpc-listen", metavar="HOST:PORT", help="Where to serve gRPC.")
_http_listen = click.option("--http-listen", metavar="HOST:PORT", help="Where to serve HTTP.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="breezeway", message="%(version)s")
def main() -> None:
    """Run agents and serve them: OpenAI's REST and SSE outside, gRPC inside, one durable log per run."""


main.add_command(agent)
main.add_command(keys)
main.add_command(runs)


@main.command()
@_config
@_data_dir
@_grpc_listen
@_http_listen
@click.option("--shims", type=int, metavar="N", help="How many shims share the HTTP port.  [default: 1]")
def serve(
    config: Path | None, data_dir: Path | None, grpc_listen: str | None, http_listen: str | None, shims: int | None
) -> None:
    """Serve gRPC and HTTP: a server and its shims, each a process, with a unix socket between."""
    document = _document(config)
    settings = _settings(document, config, {"data_dir": data_dir, "grpc_listen": grpc_listen, "shims": shims})
    _shim_settings(document, config, {"http_listen": http_listen})
    environ = {**_shim_table(document, config), **os.environ}
    if config is not None:
        environ["BREEZEWAY_CONFIG"] = str(config)
    if http_listen is not None:
        environ["BREEZEWAY_HTTP_LISTEN"] = http_listen
    try:
        # Whether the store has keys is found out by those who open it.
        addresses = [settings.grpc_listen, environ.get("BREEZEWAY_HTTP_LISTEN", HTTP_LISTEN)]
        check_exposure(addresses, settings.plain_keys, stored_keys=True)
    except ConfigError as error:
        _give_up(str(error), BAD_CONFIGURATION)
    environ.setdefault("BREEZEWAY_LOG_FORMAT", settings.log_format)
    environ["BREEZEWAY_DATA_DIR"] = str(settings.data_dir)
    environ["BREEZEWAY_GRPC_LISTEN"] = settings.grpc_listen
    sys.exit(asyncio.run(supervise(environ, settings.data_dir, settings.shims)))


@main.command()
@_config
@_data_dir
@_grpc_listen
def server(config: Path | None, data_dir: Path | None, grpc_listen: str | None) -> None:
    """Serve gRPC alone: runs agents and keeps their logs."""
    # Loading these takes a second, which nobody who only supervises or chats should wait for.
    import uvloop  # noqa: PLC0415

    from breezeway_server.agents.build import prepare_agents  # noqa: PLC0415
    from breezeway_server.cli.server import serve as serve_grpc  # noqa: PLC0415
    from breezeway_server.store.database import StoreLocked  # noqa: PLC0415

    document = _document(config)
    settings = _settings(document, config, {"data_dir": data_dir, "grpc_listen": grpc_listen})
    configure_logging(settings.log_format)
    # gRPC would find out too, and say so in a line of its own library.
    if fault := taken(settings.grpc_listen, "--grpc-listen"):
        _give_up(fault, CANNOT_LISTEN)
    # Python agents and tools are looked for beside the file that names them.
    sys.path.insert(0, str(config.parent.resolve() if config is not None else Path.cwd()))
    now = datetime.now(UTC)
    try:
        uvloop.run(
            serve_grpc(
                settings, lambda: prepare_agents(document, os.environ, create_time=now, source=source_of(config))
            )
        )
    except ConfigError as error:
        _give_up(str(error), BAD_CONFIGURATION)
    except StoreLocked as error:
        _give_up(f"{error}; stop it, or choose another BREEZEWAY_DATA_DIR.", CANNOT_LISTEN)
    except OSError as error:
        _give_up(f"{error}.", CANNOT_LISTEN)


@main.command()
@_config
@_http_listen
@click.option("--grpc-target", metavar="TARGET", help="The server: host:port, or unix:/path.")
def shim(config: Path | None, http_listen: str | None, grpc_target: str | None) -> None:
    """Serve HTTP alone: turns OpenAI's REST and SSE into gRPC calls of a server."""
    from breezeway_shim.__main__ import main as serve_http  # noqa: PLC0415 - the server must not load the shim

    document = _document(config)
    _shim_settings(document, config, {"http_listen": http_listen, "grpc_target": grpc_target})
    for name, value in _shim_table(document, config).items():
        os.environ.setdefault(name, value)
    if http_listen is not None:
        os.environ["BREEZEWAY_HTTP_LISTEN"] = http_listen
    if grpc_target is not None:
        os.environ["BREEZEWAY_GRPC_TARGET"] = grpc_target
    sys.exit(serve_http())


@main.command()
@click.option("--agent", metavar="NAME", help="Whom to talk to; assistant, or else the first there is.")
@connected
def chat(agent: str | None, connection: Connection) -> None:
    """Talk to an agent in the terminal; a piped input is one question a line."""
    from breezeway_server.cli.chat import chat as talk  # noqa: PLC0415 - a server needs nothing of it

    sys.exit(talk(connection, agent))


@main.command()
@_config
@_data_dir
@_grpc_listen
@_http_listen
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@connected
def doctor(*, connection: Connection, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Check configuration, store, ports, agents and what runs, and say what to do. Changes nothing.

    Ends with 1 where something failed, with 0 where nothing did.
    """
    from breezeway_server.cli.doctor.command import examine  # noqa: PLC0415 - nobody else needs it

    sys.exit(examine(connection, config, flags, as_json=as_json))


@main.command(name="version")
def version_() -> None:
    """Print the version."""
    click.echo(version("breezeway"))


def _document(config: Path | None) -> Document:
    try:
        return read_configuration(config)
    except ConfigError as error:
        _give_up(str(error), BAD_CONFIGURATION)


def _settings(document: Document, config: Path | None, flags: Mapping[str, Any]) -> ServerSettings:
    try:
        return server_settings(document, config, flags)
    except ConfigError as error:
        _give_up(str(error), BAD_CONFIGURATION)


def _shim_settings(document: Document, config: Path | None, flags: Mapping[str, Any]) -> None:
    """End here, with every fault named, where a shim could not start."""
    try:
        shim_settings(document, config, flags)
    except ConfigError as error:
        _give_up(str(error), BAD_CONFIGURATION)


def _shim_table(document: Document, config: Path | None) -> dict[str, str]:
    try:
        return shim_variables(document, config)
    except ConfigError as error:
        _give_up(str(error), BAD_CONFIGURATION)


def _give_up(message: str, status: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(status)
