"""What every kind of agent promises."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from breezeway.v1 import agent_pb2
from breezeway_server.agents.base import Agent, AgentError
from breezeway_server.agents.steps import ModelCallCompleted, TextDelta

from tests.server.agents.conftest import KEY, built
from tests.support.agents import COMPLETED, FakeRun, text_of
from tests.support.model_server import Hold, ModelServer, Raw, Stream, text

_HERE = "tests.server.agents.functions"


@dataclass
class Case:
    """An agent, and what to ask it for."""

    agent: Agent
    stalls: Agent
    stalling_ask: str
    fails: Agent
    failing_ask: str


@pytest.fixture(params=["demo", "llm", "python"])
async def case(request: pytest.FixtureRequest, model: ModelServer) -> AsyncIterator[Case]:
    tables: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "demo": ({"kind": "demo", "pace": 0}, {"kind": "demo", "pace": 10}, {"kind": "demo", "pace": 0}),
        "llm": (
            {"kind": "llm", "model": "echo", "base_url": model.base_url, "api_key": KEY},
            {"kind": "llm", "model": "stalls", "base_url": model.base_url},
            {"kind": "llm", "model": "fails", "base_url": model.base_url},
        ),
        "python": tuple(  # type: ignore[dict-item]  # a tuple of three, which a generator cannot tell
            {"kind": "python", "path": f"{_HERE}:{name}"} for name in ("echo", "stalls", "raises")
        ),
    }
    model.models["stalls"] = Stream([*text("one "), Hold()])
    model.models["fails"] = Stream([*text("half "), Raw(b"data: nonsense\n\n")])
    good, stalling, failing = tables[request.param]
    async with built(good) as agent, built(stalling) as stalls, built(failing) as fails:
        yield Case(agent, stalls, "50 words", fails, "fail midway")


async def test_it_says_what_it_takes(case: Case) -> None:
    assert case.agent.info.name == "helper"
    assert case.agent.info.kind in {"demo", "llm", "python"}
    assert isinstance(case.agent.info.capabilities, agent_pb2.AgentCapabilities)


async def test_it_streams_its_answer_in_pieces_that_add_up(case: Case) -> None:
    run = await FakeRun.asking("some words to say again").work(case.agent)
    assert len([step for step in run.steps if isinstance(step, TextDelta)]) > 1
    assert "some words to say again" in run.text
    assert text_of(run.output) == run.text
    assert all(item.status == COMPLETED for item in run.output)


async def test_it_reports_usage_once_the_work_is_done(case: Case) -> None:
    run = await FakeRun.asking("count this").work(case.agent)
    assert isinstance(run.steps[-1], ModelCallCompleted)
    assert run.usage.input_tokens > 0
    assert run.usage.output_tokens > 0
    assert run.usage.model_calls == 1


async def test_runs_at_the_same_time_do_not_mix(case: Case) -> None:
    nonces = [f"nonce-{number}" for number in range(20)]
    runs = await asyncio.gather(*(FakeRun.asking(nonce).work(case.agent) for nonce in nonces))
    for nonce, run in zip(nonces, runs, strict=True):
        assert [other for other in nonces if other in run.text.split()] == [nonce]


async def test_cancelling_lets_go_and_passes_the_cancellation_on(case: Case) -> None:
    run = FakeRun.asking(case.stalling_ask)
    begun = asyncio.Event()

    async def work() -> None:
        async for _ in run.follow(case.stalls):
            begun.set()

    task = asyncio.create_task(work())
    if case.stalls.info.kind == "demo":
        # Its first word is far away: it is cancelled while it waits.
        await asyncio.sleep(0)
    else:
        await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1 + _server_tasks()


async def test_a_failure_is_an_agent_error_behind_what_was_good(case: Case) -> None:
    run = FakeRun.asking(case.failing_ask)
    with pytest.raises(AgentError) as caught:
        await run.work(case.fails)
    assert run.text
    assert caught.value.error.reason
    assert caught.value.error.code
    assert "secret" not in caught.value.error.message


async def test_closing_twice_is_harmless(case: Case) -> None:
    await case.agent.close()
    await case.agent.close()


def _server_tasks() -> int:
    """Tasks of the model server's connections, which are not the agent's."""
    return sum("RequestHandler" in repr(task.get_coro()) for task in asyncio.all_tasks())
