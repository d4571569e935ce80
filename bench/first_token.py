"""Time to the first token, against the model itself and the bare proxy, interleaved in one run."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop
from rich.console import Console
from rich.table import Table

from bench import processes
from bench.load import many, request

_TOKENS = 20
_MODEL = f"fast-{_TOKENS}"
_PATH = "/v1/chat/completions"
_WARM_UP_ROUNDS = 20
_SECONDS_EACH = 8.0
_AT_ONCE = (1, 16)


@dataclass
class _Way:
    """One way to the same answer, and how long its first token took, in milliseconds."""

    name: str
    port: int
    extra: dict[str, object] = field(default_factory=dict)
    first_token: list[float] = field(default_factory=list)

    async def go(self, at_once: int) -> None:
        """Ask so many times at once. AssertionError where a byte of an answer is not what the model sent."""
        ask = {"model": _MODEL, "stream": True, "messages": [{"role": "user", "content": "hi"}], **self.extra}
        body = json.dumps(ask).encode()
        outcomes = await many(at_once, at_once, lambda: request(self.port, _PATH, body, tokens=_TOKENS, timed=True))
        self.first_token += [outcome.first * 1000 for outcome in outcomes]


async def main() -> None:
    """Measure, and print the tables."""
    with (
        processes.model() as model,
        processes.proxy(model.port) as proxy,
        processes.breezeway(model.port, [_MODEL]) as (system, _),
    ):
        for at_once in _AT_ONCE:
            ways = (
                _Way("the model itself", model.port),
                _Way("bare proxy", proxy.port),
                _Way("through Breezeway, MEMORY", system.port),
                _Way("through Breezeway, LOGGED", system.port, {"store": True}),
            )
            await _measure(ways, at_once)
            _print(ways, at_once)


async def _measure(ways: Sequence[_Way], at_once: int) -> None:
    for _ in range(_WARM_UP_ROUNDS):
        for way in ways:
            await way.go(at_once)
    for way in ways:
        way.first_token.clear()
    until = time.monotonic() + _SECONDS_EACH
    # In turn, so that whatever else the machine does meanwhile happens to all of them.
    while time.monotonic() < until:
        for way in ways:
            await way.go(at_once)


def _print(ways: Sequence[_Way], at_once: int) -> None:
    table = Table(title=f"time to first token, {at_once} at once, ms")
    table.add_column("way")
    for name in ("answers", "p50", "p95", "added p50", "added p95", "x proxy's p50"):
        table.add_column(name, justify="right")
    direct, proxied = (_percentiles(way.first_token) for way in ways[:2])
    for way in ways:
        p50, p95 = _percentiles(way.first_token)
        times = (p50 - direct[0]) / (proxied[0] - direct[0])
        figures = (p50, p95, p50 - direct[0], p95 - direct[1], times)
        table.add_row(way.name, str(len(way.first_token)), *[f"{figure:.2f}" for figure in figures])
    Console(width=120).print(table)


def _percentiles(milliseconds: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(milliseconds, n=20)
    return cuts[9], cuts[18]


if __name__ == "__main__":
    uvloop.run(main())
