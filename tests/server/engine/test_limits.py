"""Limits of keys, of conversations and of what a run may spend, in the engine."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from breezeway.v1 import agent_pb2, item_pb2, run_pb2
from breezeway_server.agents.base import RunContext
from breezeway_server.agents.python import PythonAgent
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    Step,
    TextDelta,
    ToolCallCompleted,
    ToolCallOutput,
    ToolCallStarted,
)
from breezeway_server.engine.quota import Allowance, Rates
from breezeway_server.errors import ConversationLocked, ResourceExhausted, TooManyRuns

from tests.support.agents import said
from tests.support.server import TENANT, PlainAgent, ScriptedAgent, Stack, run_spec, running, texts

TOKEN_BUDGET = item_pb2.INCOMPLETE_REASON_TOKEN_BUDGET
LENGTH = item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS
COMPLETED, INCOMPLETE = run_pb2.RUN_STATE_COMPLETED, run_pb2.RUN_STATE_INCOMPLETE
SERVER = item_pb2.EXECUTOR_SERVER
USAGE = run_pb2.Usage(input_tokens=40, output_tokens=60)
CALL: tuple[Step, ...] = (ToolCallStarted("c1", "add", SERVER), ToolCallCompleted("c1"))
MEMORY, LOGGED = run_pb2.DURABILITY_MEMORY, run_pb2.DURABILITY_LOGGED


async def create(stack: Stack, allowance: Allowance, request_id: str = "", **spec: Any) -> str:
    """Have a run accepted for a payer."""
    return await stack.supervisor.intake.create(
        TENANT, run_spec(**spec), [said("hello")], request_id=request_id, allowance=allowance
    )


async def refused(stack: Stack, allowance: Allowance, **spec: Any) -> ResourceExhausted:
    with pytest.raises(ResourceExhausted) as raised:
        await create(stack, allowance, **spec)
    return raised.value


@pytest.mark.parametrize("durability", [MEMORY, LOGGED])
async def test_a_key_has_so_many_runs_under_way_and_the_others_do_not_feel_it(
    stack: Stack, agent: ScriptedAgent, durability: int
) -> None:
    one, two = (Allowance(payer, Rates(max_runs=2)) for payer in ("one", "two"))
    first, _ = [await create(stack, one, durability=durability) for _ in range(2)]
    assert (await refused(stack, one)).reason == "TOO_MANY_RUNS_OF_KEY"
    await create(stack, two, durability=durability)
    agent.script(first).end()
    await stack.settled(first)
    await create(stack, one, durability=durability)


async def test_the_limit_of_a_key_is_exact_under_a_burst(stack: Stack) -> None:
    allowance = Allowance("one", Rates(requests_per_minute=5))
    results = await asyncio.gather(*(create(stack, allowance) for _ in range(20)), return_exceptions=True)
    reasons = [result.reason for result in results if isinstance(result, ResourceExhausted)]
    assert reasons == ["RATE_LIMITED_REQUESTS"] * 15


async def test_a_repeat_is_neither_refused_nor_counted(stack: Stack) -> None:
    allowance = Allowance("one", Rates(max_runs=1, requests_per_minute=2))
    first = await create(stack, allowance, "again")
    for _ in range(3):
        assert await create(stack, allowance, "again") == first
    standing = stack.supervisor.intake.standings(allowance).requests
    assert standing is not None
    assert standing.remaining == 1


async def test_what_is_refused_is_not_counted(stack: Stack, agent: ScriptedAgent) -> None:
    allowance = Allowance("one", Rates(requests_per_minute=2))
    first = await create(stack, allowance, conversation_id="talk")
    with pytest.raises(ConversationLocked):
        await create(stack, allowance, conversation_id="talk")
    agent.script(first).end()
    await stack.settled(first)
    await create(stack, allowance, conversation_id="talk")
    assert (await refused(stack, allowance)).reason == "RATE_LIMITED_REQUESTS"


async def test_the_servers_limit_comes_before_the_keys(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, max_runs=1) as stack:
        allowance = Allowance("one", Rates(max_runs=1))
        await create(stack, allowance)
        with pytest.raises(TooManyRuns):
            await create(stack, allowance)


async def test_tokens_are_counted_when_a_model_call_ends_whatever_becomes_of_the_run(
    stack: Stack, agent: ScriptedAgent
) -> None:
    allowance = Allowance("one", Rates(tokens_per_minute=150))
    run_id = await create(stack, allowance)
    agent.script(run_id).say(ModelCallCompleted("m", USAGE))
    await stack.seen(run_id, "model_call_completed")
    await create(stack, allowance)
    agent.script(run_id).say(ModelCallCompleted("m", USAGE))
    await stack.seen(run_id, "model_call_completed", count=2)
    await stack.supervisor.cancel(TENANT, run_id)
    refusal = await refused(stack, allowance)
    assert refusal.reason == "RATE_LIMITED_TOKENS"
    assert 0 < refusal.retry_after <= 60
    await create(stack, Allowance("two", allowance.rates))


async def test_a_run_that_is_taken_up_is_still_its_keys(tmp_path: Path) -> None:
    allowance = Allowance("key_1", Rates(max_runs=1, tokens_per_minute=50), "key_1")
    async with running(tmp_path, ScriptedAgent()) as stack:
        run_id = await create(stack, allowance, key_id="somebody else")
        assert (await stack.get(run_id)).spec.key_id == "key_1"
        await stack.seen(run_id, "run_started")
        await stack.crash()
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        assert (await refused(stack, allowance)).reason == "TOO_MANY_RUNS_OF_KEY"
        agent.script(run_id).say(ModelCallCompleted("m", USAGE))
        agent.script(run_id).end()
        await stack.settled(run_id)
        assert (await refused(stack, allowance)).reason == "RATE_LIMITED_TOKENS"


async def test_so_many_runs_wait_for_their_turn_in_a_conversation(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, queued_runs=2) as stack:
        queue: dict[str, Any] = {"conversation_id": "talk", "busy_policy": run_pb2.BUSY_POLICY_QUEUE}
        first, second, _ = [await stack.create(**queue) for _ in range(3)]
        with pytest.raises(ResourceExhausted) as raised:
            await stack.create(**queue)
        assert raised.value.reason == "CONVERSATION_QUEUE_FULL"
        await stack.create(**{**queue, "conversation_id": "another"})
        agent.script(first).end()
        await agent.script(second).begun.wait()
        fourth = await stack.create(**queue)
        await stack.create(**{**queue, "busy_policy": run_pb2.BUSY_POLICY_INTERRUPT})
        assert (await stack.ended(fourth)).state == run_pb2.RUN_STATE_CANCELLED


@pytest.mark.parametrize(
    ("asked", "agents", "servers", "effective"),
    [(None, None, None, None), (5, None, None, 5), (5, 4, None, 4), (None, 4, 3, 3), (2, 4, 3, 2), (None, None, 3, 3)],
)
async def test_the_smallest_budget_holds_and_is_told(
    tmp_path: Path, asked: int | None, agents: int | None, servers: int | None, effective: int | None
) -> None:
    agent = ScriptedAgent()
    if agents is not None:
        agent.info.max_total_tokens = agents
    async with running(tmp_path, agent, run_tokens=servers) as stack:  # type: ignore[arg-type] # None is one of them
        run = await stack.get(await stack.create(max_total_tokens=asked))
    told = run.spec.max_total_tokens if run.spec.HasField("max_total_tokens") else None
    assert told == effective


async def test_a_run_ends_before_the_model_call_after_its_budget(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(max_total_tokens=200)
    script = agent.script(run_id)
    script.say(TextDelta("one"), *CALL, ModelCallCompleted("m", USAGE), ToolCallOutput("c1", ()))
    script.say(TextDelta("two"), ToolCallStarted("c2", "add", SERVER), ModelCallCompleted("m", USAGE))
    script.say(TextDelta("three"))
    run = await stack.ended(run_id)
    assert (run.state, run.incomplete_reason) == (INCOMPLETE, TOKEN_BUDGET)
    assert texts(run.output) == ["one", "two"]
    assert [item.incomplete_reason for item in run.output] == [0, 0, 0, 0, TOKEN_BUDGET], "a call that is cut says so"
    assert (run.usage.model_calls, run.usage.input_tokens + run.usage.output_tokens) == (2, 200)
    assert script.closed.is_set()


async def test_an_answer_that_was_the_last_is_whole_although_it_went_over(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(max_total_tokens=1)
    agent.script(run_id).say(TextDelta("all of it"), ModelCallCompleted("m", USAGE, last=True))
    agent.script(run_id).end()
    run = await stack.ended(run_id)
    assert (run.state, texts(run.output)) == (COMPLETED, ["all of it"])


async def test_an_agent_that_calls_on_after_its_last_call_is_stopped(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(max_total_tokens=1)
    last = ModelCallCompleted("m", USAGE, last=True)
    agent.script(run_id).say(last, TextDelta("more"), ModelCallCompleted("m", USAGE), TextDelta("and more"))
    assert (await stack.ended(run_id)).incomplete_reason == TOKEN_BUDGET


async def test_the_first_limit_is_the_one_that_is_told(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(max_total_tokens=1)
    agent.script(run_id).say(TextDelta("cut"), ChoiceIncomplete(LENGTH), ModelCallCompleted("m", USAGE))
    assert (await stack.ended(run_id)).incomplete_reason == LENGTH


async def test_below_its_budget_a_run_goes_on(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(max_total_tokens=101)
    agent.script(run_id).say(ModelCallCompleted("m", USAGE), TextDelta("more"))
    agent.script(run_id).end()
    assert (await stack.ended(run_id)).state == COMPLETED


async def test_functions_of_the_operator_are_stopped_too(tmp_path: Path) -> None:
    calls = 0

    async def endless(context: RunContext) -> AsyncGenerator[Step, None]:
        nonlocal calls
        while True:
            calls += 1
            yield TextDelta("on ")
            yield ModelCallCompleted("m", USAGE)

    info = agent_pb2.Agent(name="endless", kind="python")
    async with running(tmp_path, PythonAgent(info, endless)) as stack:
        run = await stack.ended(await stack.create(agent="endless", max_total_tokens=250))
    assert (run.incomplete_reason, run.usage.model_calls, calls) == (TOKEN_BUDGET, 3, 3)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_budget_that_was_spent_before_a_crash_stays_spent(tmp_path: Path, whole: bool) -> None:
    """The crash took the end of the run, but not the model call that spent its tokens."""
    async with running(tmp_path, ScriptedAgent()) as stack:
        run_id = await stack.create(max_total_tokens=100)
        script = stack.agents.get("scripted").script(run_id)  # type: ignore[union-attr] # it is the one above
        script.say(*(CALL if not whole else [TextDelta("whole")]), ModelCallCompleted("m", USAGE, last=True))
        await stack.seen(run_id, "model_call_completed")
        await stack.crash()
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        agent.script(run_id).end()
        run = await stack.ended(run_id)
        assert run.attempt == 2
        assert (run.state, bool(agent.script(run_id).contexts)) == (COMPLETED if whole else INCOMPLETE, whole)


async def test_agents_that_say_nothing_of_tokens_have_no_budget_to_spend(tmp_path: Path) -> None:
    async with running(tmp_path, PlainAgent("scripted", TextDelta("a"), TextDelta("b"))) as stack:
        run = await stack.ended(await stack.create(max_total_tokens=1))
    assert run.state == COMPLETED
