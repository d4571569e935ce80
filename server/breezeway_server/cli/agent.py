"""`breezeway agent`: for those who write agents."""

import asyncio
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.remote.channel import OpenChannel, channel_opener
from breezeway_server.agents.remote.config import TlsConfig
from breezeway_server.agents.remote.conformance.suite import Result, Unreachable, Verdict, check_agent

_COLOURS = {Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.SKIPPED: "yellow"}
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@click.group()
def agent() -> None:
    """Work with remote agents."""


@agent.command()
@click.argument("address")
@click.option("--tls", is_flag=True, help="Use TLS, trusting the system's roots.")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="PEM file of whom to trust; means --tls.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="PEM file of our certificate; means --tls.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of our key; means --tls.")
@click.option("--tls-server-name", help="The name in the agent's certificate; means --tls.")
@click.option("--connect-timeout", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True)
@click.option("--deadline", type=click.FloatRange(0, min_open=True), default=30.0, show_default=True, help="Of a call.")
def check(
    address: str,
    *,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_server_name: str | None,
    connect_timeout: float,
    deadline: float,
) -> None:
    """Check that the agent at ADDRESS (host:port or unix:/path) keeps to the contract.

    Exits with 0 where no check failed, 1 where one did or the agent cannot be reached.
    """
    config = None
    if tls or tls_ca or tls_cert or tls_key or tls_server_name:
        config = TlsConfig(ca=tls_ca, cert=tls_cert, key=tls_key, server_name=tls_server_name)
    try:
        opener = channel_opener(
            config, connect_timeout=connect_timeout, max_message_bytes=_MAX_MESSAGE_BYTES, key="--tls"
        )
        results = asyncio.run(_check(address, opener, connect_timeout, deadline))
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except Unreachable:
        click.echo(f"No agent can be reached at {address}.", err=True)
        sys.exit(1)
    Console().print(_table(results))
    failed = sum(result.verdict is Verdict.FAILED for result in results)
    skipped = sum(result.verdict is Verdict.SKIPPED for result in results)
    click.echo(f"{len(results) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)


async def _check(address: str, opener: OpenChannel, connect_timeout: float, deadline: float) -> list[Result]:
    checking = check_agent(address, opener, connect_timeout=connect_timeout, deadline=deadline)
    return [result async for result in checking]


def _table(results: list[Result]) -> Table:
    table = Table("check", "verdict", "seconds", "detail")
    for result in results:
        colour = _COLOURS[result.verdict]
        table.add_row(result.name, f"[{colour}]{result.verdict}[/]", f"{result.seconds:.2f}", escape(result.detail))
    return table
