"""CPU per request and per token against the bare proxy, interleaved in one run: `python -m bench.compare`."""

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from bench import processes
from bench.load import Outcome, many, request
from bench.processes import Process

# The figure is the middle one: the first of many streams at once also pays for memory and connections that are kept.
_ROUNDS = 3
_CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Scenario:
    """Requests of one kind; `tokens` is 0 where the cost is told per request."""

    name: str
    model: str
    requests: int
    at_once: int
    stream: bool = True
    history: int = 0

    @property
    def tokens(self) -> int:
        """How many tokens an answer has."""
        return int(self.model.split("-")[1])

    @property
    def units(self) -> int:
        """How many requests or tokens the cost is divided by."""
        return self.requests * (self.tokens if self.stream else 1)


SCENARIOS = (
    Scenario("unary, 1 at once", "fast-1", 200, 1, stream=False),
    Scenario("unary, 16 at once", "fast-1", 800, 16, stream=False),
    Scenario("unary, 64 at once", "fast-1", 800, 64, stream=False),
    Scenario("unary, 200 KB history", "fast-1", 60, 4, stream=False, history=200_000),
    Scenario("fast streams, 1", "fast-2000", 6, 1),
    Scenario("fast streams, 20", "fast-2000", 40, 20),
    Scenario("paced, 300 x 20/s", "paced-160-20", 300, 300),
    Scenario("paced, 1000 x 10/s", "paced-60-10", 1000, 1000),
)


@dataclass(frozen=True)
class Way:
    """One way to the model's text."""

    name: str
    path: str
    extra: dict[str, object]


PROXY = Way("bare proxy", _CHAT, {})
WAYS = (
    Way("chat, MEMORY", _CHAT, {}),
    Way("chat, LOGGED", _CHAT, {"store": True}),
    Way("responses, LOGGED", "/v1/responses", {"store": True}),
)


def _body(scenario: Scenario, way: Way) -> bytes:
    words = "word " * (scenario.history // 5) + "hi"
    body: dict[str, object] = {"model": scenario.model, "stream": scenario.stream, **way.extra}
    if way.path == _CHAT:
        body["messages"] = [{"role": "user", "content": words}]
    else:
        body["input"] = words
    return json.dumps(body).encode()


async def _cost(process: Process, scenario: Scenario, way: Way) -> tuple[float, list[Outcome]]:
    """Return CPU microseconds per unit, and what came of the requests."""
    body = _body(scenario, way)
    paced = scenario.model.startswith("paced")
    before = process.cpu_seconds()
    outcomes = await many(
        scenario.requests,
        scenario.at_once,
        lambda: request(process.port, way.path, body, tokens=scenario.tokens, timed=paced),
    )
    return (process.cpu_seconds() - before) * 1e6 / scenario.units, outcomes


def _lag(outcomes: Sequence[Outcome], scenario: Scenario) -> str:
    if not scenario.model.startswith("paced"):
        return ""
    interval = 1 / int(scenario.model.split("-")[2])
    lags = sorted(
        arrival - outcome.first - index * interval
        for outcome in outcomes
        if len(outcome.arrivals) == scenario.tokens
        for index, arrival in enumerate(outcome.arrivals)
    )
    whole = sum(len(outcome.arrivals) == scenario.tokens for outcome in outcomes)
    if not lags:
        return "tokens came together"
    return f"lag p50 {lags[len(lags) // 2] * 1e3:.0f}, p99 {lags[int(len(lags) * 0.99)] * 1e3:.0f} ms ({whole} streams)"


async def compare(wanted: Sequence[str]) -> None:
    """Run the scenarios whose names hold one of `wanted`, and print a row for each way."""
    scenarios = [each for each in SCENARIOS if not wanted or any(word in each.name for word in wanted)]
    models = sorted({each.model for each in scenarios} | {"fast-8"})
    with (
        processes.model() as model,
        processes.proxy(model.port) as proxy,
        processes.breezeway(model.port, models) as (system, _),
    ):
        warm = Scenario("warm-up", "fast-8", 60, 20)
        await _cost(proxy, warm, PROXY)
        for way in WAYS:
            await _cost(system, warm, way)
        for scenario in scenarios:
            await _row(scenario, proxy, system)


async def _row(scenario: Scenario, proxy: Process, system: Process) -> None:
    costs: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    for _ in range(_ROUNDS):
        for process, way in ((proxy, PROXY), *((system, way) for way in WAYS)):
            cost, outcomes = await _cost(process, scenario, way)
            costs.setdefault(way.name, []).append(cost)
            notes[way.name] = _lag(outcomes, scenario)
    base = statistics.median(costs[PROXY.name])
    unit = "token" if scenario.stream else "request"
    for name, values in costs.items():
        cost = statistics.median(values)
        print(f"{scenario.name:24} {name:18} {cost:8.1f} us/{unit:8} x {cost / base:5.2f}  {notes[name]}", flush=True)


if __name__ == "__main__":
    uvloop.run(compare(sys.argv[1:]))
