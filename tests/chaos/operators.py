"""What the operator of the chaos brings: a tool that leaves a trace of each time it runs, and an agent that is lost
with its server.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from breezeway_server.agents.base import RunContext

from tests.chaos.model import text

TRACES = "BREEZEWAY_CHAOS_TRACES"
"""The environment variable that names the file of the traces."""

_PACE = 0.03


async def count(key: str) -> str:
    """Count one more use of a key."""
    await asyncio.sleep(_PACE)
    trace = os.urandom(8).hex()
    _leave(f"{key} {trace}\n")
    await asyncio.sleep(_PACE)
    return trace


def _leave(line: str) -> None:
    # One write, so that lines of calls at the same time do not mix.
    with Path(os.environ[TRACES]).open("ab", buffering=0) as file:
        file.write(line.encode())


def traces(path: Path) -> dict[str, list[str]]:
    """What `count` gave back for each key, in order; of a call whose server was lost, what it was about to."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        key, trace = line.split()
        found.setdefault(key, []).append(trace)
    return found


async def frail(context: RunContext) -> AsyncGenerator[str, None]:
    """Say what the model would say, and be unable to go on after a crash."""
    _, key, words, _ = context.input[-1].message.content[0].text.text.split()
    for word in text(key, int(words)).split():
        await asyncio.sleep(_PACE)
        yield f"{word} "
