"""What becomes of runs when their server is drained or killed, and what the next one does with them."""

import asyncio
from pathlib import Path

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.steps import ModelCallCompleted, TextDelta, ToolCallCompleted, ToolCallStarted
from breezeway_server.errors import Unavailable

from tests.support.server import TENANT, ScriptedAgent, kinds, running, texts

MEMORY = run_pb2.DURABILITY_MEMORY
QUEUE = run_pb2.BUSY_POLICY_QUEUE
USAGE = run_pb2.Usage(input_tokens=7, output_tokens=5, model_calls=1)
INTERRUPTED = item_pb2.INCOMPLETE_REASON_INTERRUPTED
ENDS = pytest.mark.parametrize("end", ["drained", "killed"])


async def left(directory: Path, end: str, *, resumable: bool = True) -> tuple[str, int]:
    """A run in the middle of an answer whose server is gone, and its newest sequence."""
    agent = ScriptedAgent(resumable=resumable)
    async with running(directory, agent) as stack:
        run_id = await stack.create()
        call = ToolCallStarted("c1", "add", item_pb2.EXECUTOR_SERVER)
        agent.script(run_id).say(
            ModelCallCompleted("m", USAGE), TextDelta("one"), call, ToolCallCompleted("c1"), TextDelta("ha")
        )
        last = (await stack.seen(run_id, "text_delta", count=2)).sequence
        follower = asyncio.create_task(stack.events(run_id))
        if end == "killed":
            await stack.crash()
        else:
            await stack.stop()
            assert agent.script(run_id).closed.is_set()
        with pytest.raises(Unavailable) as raised:
            await follower
        assert raised.value.retry_after > 0
    return run_id, last


@ENDS
async def test_a_resumable_run_goes_on_where_it_was(tmp_path: Path, end: str) -> None:
    run_id, last = await left(tmp_path, end)
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        script = agent.script(run_id)
        await script.begun.wait()
        (context,) = script.contexts
        assert context.attempt == 2
        assert texts(context.input) == ["hello"]
        # What had ended is whole, what was open is as it was.
        assert [item.status for item in context.output] == [
            *[item_pb2.ITEM_STATUS_COMPLETED] * 2,
            item_pb2.ITEM_STATUS_INCOMPLETE,
        ]
        script.say(TextDelta("two"), ModelCallCompleted("m", USAGE))
        script.end()
        run = await stack.ended(run_id)
        assert run.state == run_pb2.RUN_STATE_COMPLETED
        assert run.attempt == 2
        assert texts(run.output) == ["one", "ha", "two"]
        assert run.usage.model_calls == 2
        # A reader with a cursor of before gets exactly the rest.
        events = await stack.events(run_id)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        rest = await stack.events(run_id, after=last)
        assert rest == events[last:]
        assert kinds(rest)[:2] == ["run_started", "item_completed"]
        assert {event.attempt for event in rest} == {2}
        assert await stack.get(run_id) == run
    async with running(tmp_path, ScriptedAgent()) as stack:
        assert await stack.get(run_id) == run, "what is over stays over"
        assert not list(stack.supervisor.under_way)


@ENDS
async def test_a_run_whose_agent_cannot_go_on_fails(tmp_path: Path, end: str) -> None:
    run_id, last = await left(tmp_path, end, resumable=False)
    agent = ScriptedAgent(resumable=False)
    async with running(tmp_path, agent) as stack:
        run = await stack.ended(run_id)
        assert (run.state, run.error.reason) == (run_pb2.RUN_STATE_FAILED, "SERVER_RESTARTED")
        assert run.usage == USAGE
        assert texts(run.output) == ["one", "ha"]
        assert kinds(await stack.events(run_id, after=last)) == ["item_completed", "run_failed"]
        assert not agent.script(run_id).begun.is_set()


async def test_a_run_whose_agent_is_gone_fails(tmp_path: Path) -> None:
    run_id, _ = await left(tmp_path, "killed")
    async with running(tmp_path, ScriptedAgent("other")) as stack:
        assert (await stack.ended(run_id)).error.reason == "SERVER_RESTARTED"


@pytest.mark.parametrize("resumable", [True, False])
@ENDS
async def test_a_run_that_had_only_been_queued_starts(tmp_path: Path, end: str, resumable: bool) -> None:
    agent = ScriptedAgent(resumable=resumable)
    async with running(tmp_path, agent) as stack:
        first = await stack.create("1?", conversation_id="talk")
        second = await stack.create("2?", conversation_id="talk", busy_policy=QUEUE)
        await stack.seen(second, "run_queued")
        await stack.seen(first, "run_started")
        await (stack.crash() if end == "killed" else stack.stop())
    agent = ScriptedAgent(resumable=resumable)
    async with running(tmp_path, agent) as stack:
        if resumable:
            await agent.script(first).begun.wait()
            assert (await stack.get(second)).state == run_pb2.RUN_STATE_QUEUED, "turns are still turns"
            agent.script(first).end()
        await agent.script(second).begun.wait()
        assert texts(agent.script(second).contexts[0].history) == ["1?"]
        agent.script(second).end()
        run = await stack.ended(second)
        assert run.state == run_pb2.RUN_STATE_COMPLETED
        assert kinds(await stack.events(second)) == ["run_queued", "run_started", "run_completed"]


async def test_a_run_is_not_begun_for_ever(tmp_path: Path) -> None:
    run_id, _ = await left(tmp_path, "killed")
    for _ in range(2):
        agent = ScriptedAgent()
        async with running(tmp_path, agent, max_attempts=3) as stack:
            await agent.script(run_id).begun.wait()
            await stack.crash()
    agent = ScriptedAgent()
    async with running(tmp_path, agent, max_attempts=3) as stack:
        run = await stack.ended(run_id)
        assert run.error.reason == "SERVER_RESTARTED"
        assert run.attempt == 4
        assert not agent.script(run_id).begun.is_set()


async def test_a_run_outlives_any_number_of_drains(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent, max_attempts=1) as stack:
        run_id = await stack.create()
        await agent.script(run_id).begun.wait()
    for _ in range(3):
        agent = ScriptedAgent()
        async with running(tmp_path, agent, max_attempts=1) as stack:
            await agent.script(run_id).begun.wait()
    agent = ScriptedAgent()
    async with running(tmp_path, agent, max_attempts=1) as stack:
        agent.script(run_id).end()
        run = await stack.ended(run_id)
        assert (run.state, run.attempt) == (run_pb2.RUN_STATE_COMPLETED, 5)


async def test_a_server_that_drains_lets_runs_end_in_their_time(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        run_id = await stack.create()
        await agent.script(run_id).begun.wait()
        draining = asyncio.create_task(stack.supervisor.drain(60))
        follower = asyncio.create_task(stack.events(run_id))
        await stack.seen(run_id, "run_started")
        assert stack.supervisor.intake.closed
        with pytest.raises(Unavailable) as raised:
            await stack.create()
        assert raised.value.reason == "SERVER_DRAINING"
        agent.script(run_id).say(TextDelta("done"))
        agent.script(run_id).end()
        await draining
        assert kinds(await follower)[-1] == "run_completed"


async def test_a_memory_run_fails_when_its_server_stops(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        run_id = await stack.create(durability=MEMORY)
        agent.script(run_id).say(TextDelta("half"), ModelCallCompleted("m", USAGE))
        await stack.seen(run_id, "model_call_completed")
        follower = asyncio.create_task(stack.events(run_id))
        await stack.supervisor.drain(0)
        assert kinds(await follower)[-1] == "run_failed"
        run = await stack.get(run_id)
        assert run.error.reason == "SERVER_STOPPED"
        assert run.usage == USAGE
        assert agent.script(run_id).closed.is_set()


async def test_a_cancel_that_a_crash_swallowed_can_be_given_again(tmp_path: Path) -> None:
    run_id, _ = await left(tmp_path, "killed")
    async with running(tmp_path, ScriptedAgent()) as stack:
        run = await stack.supervisor.cancel(TENANT, run_id)
        assert run.state == run_pb2.RUN_STATE_CANCELLED
        assert run.usage == USAGE


async def test_a_run_that_is_taken_up_can_be_deleted(tmp_path: Path) -> None:
    run_id, _ = await left(tmp_path, "killed")
    async with running(tmp_path, ScriptedAgent()) as stack:
        await stack.supervisor.delete(TENANT, run_id)
    async with running(tmp_path, ScriptedAgent()) as stack:
        assert not list(stack.supervisor.under_way)


async def test_many_runs_are_taken_up_at_once(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        made = [await stack.create(str(number)) for number in range(30)]
        for run_id in made:
            await stack.seen(run_id, "run_started")
        await stack.crash()
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        for run_id in made:
            agent.script(run_id).end()
        runs = await asyncio.gather(*(stack.ended(run_id) for run_id in made))
        assert {run.state for run in runs} == {run_pb2.RUN_STATE_COMPLETED}
        assert [texts(run.input) for run in runs] == [[str(number)] for number in range(30)]
