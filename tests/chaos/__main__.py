"""`python -m tests.chaos`: real processes under load are killed, stopped, cut and restarted at random points.

Clients of all wires check what they see, and in the end every run is read again. The exit status is 1 where a promise
was broken. The same seed draws the same faults and the same work; the machine's own timing stays its own.
"""

import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.book import Book, Broken
from tests.chaos.crowd import Crowd
from tests.chaos.faults import Faults
from tests.chaos.system import running
from tests.chaos.verdict import Verdict

_SERVED_SECONDS = 90.0
_ENDED_SECONDS = 60.0
_SHOWN_FAULTS = 20


@click.command(help="Break a running system at random for a while, and see whether it keeps its promises.")
@click.option("--seed", type=int, help="What to draw faults and work from; chosen and printed where it is not given.")
@click.option("--seconds", type=float, default=120.0, show_default=True, help="For how long.")
@click.option("--clients", type=int, default=2, show_default=True, help="Clients of each wire.")
def main(seed: int | None, seconds: float, clients: int) -> None:
    """Run, print the table, and exit."""
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    click.echo(f"chaos: seed {chosen}, {seconds:g} seconds, {clients} clients of each wire")
    directory = Path(tempfile.mkdtemp(prefix="breezeway-chaos-"))
    broken = asyncio.run(_run(directory, chosen, seconds, clients))
    if broken:
        click.echo(f"Data and logs of the processes are in {directory}; --seed {chosen} draws the same again.")
    else:
        shutil.rmtree(directory)
    sys.exit(broken)


async def _run(directory: Path, seed: int, seconds: float, clients: int) -> bool:
    book = Book()
    async with running(directory) as system:
        faults = Faults(system, Random(f"{seed}/faults"))  # noqa: S311 - to be had again is what it is for
        try:
            async with asyncio.timeout(seconds + _SERVED_SECONDS):
                async with Crowd(book, str(seed)).busy(system, clients):
                    await faults.run(seconds)
        except TimeoutError:
            book.blame(Broken.UNFINISHED, "not every client was served")
        verdict = Verdict(book, system.direct_grpc, system.traces)
        await verdict.pass_(_ENDED_SECONDS)
    for how, what in book.faults[:_SHOWN_FAULTS]:
        click.echo(f"{how.value}: {what}")
    _print(
        {
            "runs": verdict.runs,
            "events": verdict.events,
            "resumes by clients": book.resumes,
            **faults.counts,
            **{how.value: book.count(how) for how in Broken},
        }
    )
    return bool(book.faults)


def _print(figures: Mapping[str, int]) -> None:
    table = Table("what", "how many")
    table.columns[1].justify = "right"
    for name, count in figures.items():
        table.add_row(name, f"{count:,}", end_section=name == "resumes by clients")
    Console().print(table)


if __name__ == "__main__":
    main()
