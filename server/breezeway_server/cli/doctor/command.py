"""`breezeway doctor` itself: has everything looked at, and prints what was found."""

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog
from rich.console import Console
from rich.text import Text

from breezeway_server.cli.connection import FAILED, Connection
from breezeway_server.cli.doctor.access import check_addresses, check_keys, check_secrets, check_tls
from breezeway_server.cli.doctor.agents import check_agents
from breezeway_server.cli.doctor.configuration import Setup, check_configuration
from breezeway_server.cli.doctor.data import check_directory, has_server
from breezeway_server.cli.doctor.finding import Finding, Level, ok
from breezeway_server.cli.doctor.listening import check_grpc, check_http, check_metrics
from breezeway_server.cli.doctor.machine import check_clock, check_extras, check_files
from breezeway_server.cli.doctor.store import Stored, check_store
from breezeway_server.cli.printable import printable

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def examine(connection: Connection, config: Path | None, flags: Mapping[str, Any], *, as_json: bool) -> int:
    """Look at everything, print what was found, and return the exit status: 1 where something failed, else 0."""
    # What the parts log while they are tried is said in findings.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    setup, findings = check_configuration(config, flags)
    stored, found = _check_place(setup)
    findings += found
    findings += asyncio.run(_check_running(setup, connection, stored))
    findings.append(check_clock(stored, now=time.time()))
    findings += check_extras()
    if as_json:
        for finding in findings:
            sys.stdout.write(f"{msgspec.json.encode(finding).decode()}\n")
    else:
        _print(findings)
    return FAILED if any(finding.level is Level.FAIL for finding in findings) else 0


def _check_place(setup: Setup) -> tuple[Stored, list[Finding]]:
    """What needs no other process: directory, store, keys and files."""
    if setup.server is None:
        return Stored(), []
    directory = setup.server.data_dir
    findings = check_directory(directory)
    if has_server(directory):
        findings.append(ok("data directory", "A server has it; another one cannot."))
    stored, found = check_store(directory)
    findings += [*found, check_files(setup.server), *check_keys(setup.server, stored)]
    findings += check_secrets(setup.server, stored)
    if setup.shim is not None:
        findings += [*check_addresses(setup.server, setup.shim, stored), *check_tls(setup.server, setup.shim)]
    return stored, findings


async def _check_running(setup: Setup, connection: Connection, stored: Stored) -> list[Finding]:
    """What other processes have a part in: ports and who holds them, and all that agents need."""
    # Both at once: one that does not answer is waited for.
    of_server, of_shim = await asyncio.gather(_check_server(setup, connection), _check_shim(setup))
    findings = of_server + of_shim
    if setup.document is not None:
        findings += await check_agents(setup, stored)
    return findings


async def _check_server(setup: Setup, connection: Connection) -> list[Finding]:
    if setup.server is None:
        return []
    in_use = has_server(setup.server.data_dir)
    findings = await check_grpc(setup.server, connection, in_use=in_use)
    return findings + check_metrics(setup.server, in_use=in_use)


async def _check_shim(setup: Setup) -> list[Finding]:
    return [] if setup.shim is None else await check_http(setup.shim)


def _print(findings: list[Finding]) -> None:
    # In a pipe a line is a line, however long it is.
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        line = Text(f"{finding.level:<5}", _COLOURS[finding.level])
        line.append(f"{finding.check}: ", "bold")
        line.append(printable(" ".join(f"{finding.message} {finding.advice}".split())), "")
        console.print(line)
    count = Counter(finding.level for finding in findings)
    console.print(", ".join(f"{count[level]} {level}" for level in Level))
