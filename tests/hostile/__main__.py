"""`python -m tests.hostile`: requests that no client should send, by the hundred thousand, at a running system.

The exit status is 1 where one of them was answered as a fault of ours, where the system's memory grew, or where it does
not answer an ordinary request afterwards. The same seed sends the same requests.
"""

import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.hostile.attack import Outcome, attack, resident_bytes
from tests.hostile.target import PROCESSES, check_log, check_served, serving

_WARM_UP = 0.1
_MEBIBYTE = 1024 * 1024
# In the second half: what is kept on purpose, and what caches hold, is there after the first.
_MOST_GROWTH = 6 * _MEBIBYTE


@click.command(help="Send malformed requests to a system of its own, and see what becomes of it.")
@click.option("--requests", type=int, default=100_000, show_default=True, help="How many, after the warm-up.")
@click.option("--seed", help="What to draw them from; chosen and printed where it is not given.")
@click.option("--clients", type=int, default=16, show_default=True, help="How many at a time.")
def main(requests: int, seed: str | None, clients: int) -> None:
    """Attack, print the table, and exit."""
    seed = seed or str(secrets.randbelow(1_000_000))
    click.echo(f"hostile: seed {seed}, {requests:,} requests, {clients} at a time")
    with tempfile.TemporaryDirectory(prefix="breezeway-hostile-") as directory, serving(Path(directory)) as system:
        pids = {module: system.pid_of(module) for module in PROCESSES}

        def run(count: int, part: str) -> Outcome:
            return asyncio.run(
                attack(system.http_port, system.grpc_port, requests=count, seed=f"{seed}/{part}", clients=clients)
            )

        def memory() -> dict[str, int]:
            return {module: resident_bytes(pid) for module, pid in pids.items()}

        warm = run(max(1, int(requests * _WARM_UP)), "warm-up")
        before = memory()
        started = time.monotonic()
        outcome = run(requests - requests // 2, "first half")
        halfway = memory()
        outcome += run(requests // 2, "second half")
        seconds = time.monotonic() - started
        after = memory()
        faults = [*warm.faults, *outcome.faults, *check_served(system), *check_log(system)]
        faults += [f"{module} is another process" for module in PROCESSES if system.pid_of(module) != pids[module]]
    table = Table("what", "how many")
    table.columns[1].justify = "right"
    table.add_row("requests a second", f"{requests / seconds:,.0f}")
    for wire, counts in (("HTTP", outcome.http), ("gRPC", outcome.grpc)):
        for status, count in sorted(counts.items()):
            table.add_row(f"{wire} {status}", f"{count:,}")
    for module in PROCESSES:
        table.add_row(f"{module}: MiB before", f"{before[module] / _MEBIBYTE:.1f}")
        table.add_row(f"{module}: MiB halfway", f"{halfway[module] / _MEBIBYTE:.1f}")
        table.add_row(f"{module}: MiB after", f"{after[module] / _MEBIBYTE:.1f}")
        if after[module] - halfway[module] > _MOST_GROWTH:
            faults.append(f"the memory of {module} grew")
    Console().print(table)
    for fault in faults:
        click.echo(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
