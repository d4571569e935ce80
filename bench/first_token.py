"""Time to the first token through the whole system, against the model server itself, interleaved in one run."""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from tests.support.system import Output, ReservedPort, System

WORDS = 20
EXPECTED = "".join(f"word{number} " for number in range(WORDS))
WARM_UP_ROUNDS = 20
SECONDS_EACH = 5.0
AT_ONCE = (1, 16)


@dataclass
class Way:
    """One way to the same answer, and how long its first token took, in seconds."""

    name: str
    url: str
    body: dict[str, Any]
    first_token: list[float] = field(default_factory=list)

    async def go(self, http: aiohttp.ClientSession) -> None:
        """Ask once. AssertionError where a byte of the answer is not what the model sent."""
        began = time.perf_counter()
        first: float | None = None
        text = ""
        done = False
        async with http.post(self.url, json=self.body) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if not line.startswith(b"data: "):
                    assert line == b"\n" or line.startswith(b"id: "), line
                    continue
                assert not done, "nothing comes after [DONE]"
                done = line == b"data: [DONE]\n"
                content = "" if done else _content(line)
                if content and first is None:
                    first = time.perf_counter() - began
                text += content
        assert (text, done) == (EXPECTED, True)
        assert first is not None
        self.first_token.append(first)


def _content(line: bytes) -> str:
    choices = json.loads(line[6:])["choices"]
    return (choices[0]["delta"].get("content") or "") if choices else ""


async def main() -> None:
    """Measure, and print the tables."""
    with tempfile.TemporaryDirectory(prefix="breezeway-bench-") as directory, _model() as model_url:
        environ = {"OPENAI_BASE_URL": model_url, "BREEZEWAY_MODEL": f"words-{WORDS}"}
        with System.serving(Path(directory), environ=environ) as system:
            for at_once in AT_ONCE:
                async with _session() as http:
                    _print(await _measure(http, model_url, system.url, at_once), at_once)


async def _measure(http: aiohttp.ClientSession, model_url: str, url: str, at_once: int) -> Sequence[Way]:
    ask = {"stream": True, "messages": [{"role": "user", "content": "Say some words."}]}
    through = f"{url}/v1/chat/completions"
    ways = (
        Way("the model itself", f"{model_url}/chat/completions", {**ask, "model": f"words-{WORDS}"}),
        Way("through Breezeway, MEMORY", through, {**ask, "model": "assistant"}),
        Way("through Breezeway, LOGGED", through, {**ask, "model": "assistant", "store": True}),
    )
    for _ in range(WARM_UP_ROUNDS):
        for way in ways:
            await way.go(http)
    for way in ways:
        way.first_token.clear()
    until = time.monotonic() + SECONDS_EACH
    # In turn, so that whatever else the machine does meanwhile happens to all of them.
    while time.monotonic() < until:
        for way in ways:
            await asyncio.gather(*[way.go(http) for _ in range(at_once)])
    return ways


def _print(ways: Sequence[Way], at_once: int) -> None:
    table = Table(title=f"time to first token, {at_once} at once, ms")
    table.add_column("way")
    for name in ("answers", "p50", "p95", "added p50", "added p95"):
        table.add_column(name, justify="right")
    direct = _percentiles(ways[0].first_token)
    for way in ways:
        p50, p95 = _percentiles(way.first_token)
        figures = (p50, p95, p50 - direct[0], p95 - direct[1])
        table.add_row(way.name, str(len(way.first_token)), *[f"{figure:.2f}" for figure in figures])
    Console(width=100).print(table)


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=20)
    return cuts[9] * 1000, cuts[18] * 1000


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield http


@contextmanager
def _model() -> Iterator[str]:
    """The scripted model in a process of its own; gives its base URL."""
    with ReservedPort.reserved() as port:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.model_server", "--port", str(port.number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output = Output(process)
        try:
            output.wait_for("model server: ")
            yield f"http://127.0.0.1:{port.number}/v1"
        finally:
            process.terminate()
            process.wait()
            output.close()


if __name__ == "__main__":
    asyncio.run(main())
