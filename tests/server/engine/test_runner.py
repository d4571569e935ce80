"""A run from its start to its one end, whatever its agent does and whenever it is cancelled."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from breezeway.v1 import agent_pb2, item_pb2, run_pb2
from breezeway_server.agents.base import AgentError, RunContext
from breezeway_server.agents.errors import failure
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    Step,
    TextDelta,
    ToolCallCompleted,
    ToolCallOutput,
    ToolCallStarted,
)
from grpc import StatusCode
from structlog.typing import EventDict

from tests.support.agents import said
from tests.support.clock import HeldClock
from tests.support.server import TENANT, PlainAgent, Script, ScriptedAgent, Stack, kinds, run_spec, running, texts

USAGE = run_pb2.Usage(input_tokens=7, output_tokens=5, model_calls=1)
INTERRUPTED = item_pb2.INCOMPLETE_REASON_INTERRUPTED
BOTH = pytest.mark.parametrize(
    "durability", [run_pb2.DURABILITY_LOGGED, run_pb2.DURABILITY_MEMORY], ids=["logged", "memory"]
)


@BOTH
async def test_a_run_completes_with_what_its_agent_said(stack: Stack, agent: ScriptedAgent, durability: int) -> None:
    run_id = await stack.create(durability=durability)
    script = agent.script(run_id)
    script.say(TextDelta("Hel"))
    await stack.seen(run_id, "text_delta")
    script.say(TextDelta("lo"), ModelCallCompleted("m", USAGE))
    script.end()
    run = await stack.ended(run_id)
    assert run.state == run_pb2.RUN_STATE_COMPLETED
    assert texts(run.output) == ["Hello"]
    assert texts(run.input) == ["hello"]
    assert run.usage == USAGE
    assert run.attempt == 1
    events = await stack.events(run_id)
    assert [event.sequence for event in events] == list(range(1, run.last_sequence + 1))
    assert kinds(events)[:2] == ["run_queued", "run_started"]
    assert kinds(events)[-1] == "run_completed"


async def test_an_agent_sees_its_run(stack: Stack, agent: ScriptedAgent) -> None:
    first = await stack.create("1?")
    agent.script(first).say(TextDelta("1!"))
    agent.script(first).end()
    await stack.ended(first)
    second = await stack.create("2?", previous_run_id=first, instructions="be brief")
    script = agent.script(second)
    await script.begun.wait()
    (context,) = script.contexts
    assert (context.run_id, context.attempt) == (second, 1)
    assert context.spec.instructions == "be brief"
    assert texts(context.history) == ["1?", "1!"]
    assert texts(context.input) == ["2?"]
    script.say(
        ToolCallStarted("c1", "add", item_pb2.EXECUTOR_SERVER), ToolCallCompleted("c1"), ToolCallOutput("c1", ())
    )
    await stack.seen(second, "item_completed", count=2)
    assert [item.WhichOneof("kind") for item in context.output] == ["function_call", "function_call_output"]


async def test_an_agent_that_ends_early_makes_an_incomplete_run(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create()
    limit = item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS
    agent.script(run_id).say(TextDelta("cut"), ChoiceIncomplete(limit))
    agent.script(run_id).end()
    run = await stack.ended(run_id)
    assert (run.state, run.incomplete_reason) == (run_pb2.RUN_STATE_INCOMPLETE, limit)


@BOTH
async def test_an_agents_error_is_the_runs(stack: Stack, agent: ScriptedAgent, durability: int) -> None:
    run_id = await stack.create(durability=durability)
    agent.script(run_id).say(TextDelta("half"), ModelCallCompleted("m", USAGE))
    agent.script(run_id).fail(failure("UPSTREAM_ERROR", "it is down", StatusCode.UNAVAILABLE))
    run = await stack.ended(run_id)
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert (run.error.reason, run.error.message) == ("UPSTREAM_ERROR", "it is down")
    assert run.usage == USAGE
    assert run.output[0].incomplete_reason == INTERRUPTED


async def test_a_bug_in_an_agent_fails_its_run_and_its_text_stays_inside(
    stack: Stack, agent: ScriptedAgent, logged: list[EventDict]
) -> None:
    run_id, other = await stack.create(), await stack.create()
    agent.script(run_id).fail(ValueError("the key is sk-secret"))
    run = await stack.ended(run_id)
    assert run.error.reason == "AGENT_FAILED"
    assert run.error.code == StatusCode.INTERNAL.value[0]
    assert run_id in run.error.message, "it leads to the server's log"
    assert "secret" not in str(await stack.events(run_id))
    assert [(entry["event"], entry["run_id"]) for entry in logged] == [("agent_failed", run_id)]
    agent.script(other).end()
    assert (await stack.ended(other)).state == run_pb2.RUN_STATE_COMPLETED


async def test_an_illegal_step_is_a_bug_of_the_agent(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create()
    agent.script(run_id).say(ToolCallCompleted("never begun"))
    run = await stack.ended(run_id)
    assert run.error.reason == "AGENT_FAILED"
    assert agent.script(run_id).closed.is_set()


async def _pass(seconds: float) -> None:
    """Have every timer go off that is due within that time. What comes after takes the time that it takes."""
    with HeldClock.held() as clock:
        clock.move(seconds)
        await asyncio.sleep(0)


async def test_a_run_that_takes_too_long_fails(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, run_seconds=30) as stack:
        run_id = await stack.create()
        await agent.script(run_id).begun.wait()
        await _pass(31)
        run = await stack.ended(run_id)
        assert run.error.reason == "RUN_TIMEOUT"
        assert run.error.code == StatusCode.DEADLINE_EXCEEDED.value[0]
        assert agent.script(run_id).closed.is_set()


async def test_an_endless_output_ends_incomplete_and_its_agent_is_stopped(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, output_bytes=1000) as stack:
        run_id = await stack.create()
        agent.script(run_id).say(*[TextDelta("x" * 100)] * 20)
        run = await stack.ended(run_id)
        assert run.incomplete_reason == item_pb2.INCOMPLETE_REASON_OUTPUT_LIMIT
        assert agent.script(run_id).closed.is_set()


async def test_an_agent_faster_than_the_store_waits_for_it(tmp_path: Path) -> None:
    big = PlainAgent("scripted", *[TextDelta("x" * 100_000)] * 100)
    async with running(tmp_path, big, output_bytes=100_000_000) as stack:
        run_id = await stack.create()
        run = await stack.ended(run_id)
        assert run.state == run_pb2.RUN_STATE_COMPLETED
        assert len(run.output[0].message.content[0].text.text) == 10_000_000


# When to cancel: a function that brings a run there.
async def at_once(stack: Stack, run_id: str) -> None:
    """Before the run's task had its first step."""


async def begun(stack: Stack, run_id: str) -> None:
    await stack.seen(run_id, "run_started")


async def speaking(stack: Stack, run_id: str) -> None:
    script_of(stack, run_id).say(TextDelta("half"), ModelCallCompleted("m", USAGE))
    await stack.seen(run_id, "model_call_completed")


async def calling(stack: Stack, run_id: str) -> None:
    script_of(stack, run_id).say(ToolCallStarted("c1", "add", item_pb2.EXECUTOR_SERVER))
    await stack.seen(run_id, "item_started")


def script_of(stack: Stack, run_id: str) -> Script:
    found = stack.agents.get("scripted")
    assert isinstance(found, ScriptedAgent)
    return found.script(run_id)


@BOTH
@pytest.mark.parametrize("moment", [at_once, begun, speaking, calling])
async def test_a_cancel_settles_wherever_the_run_is(
    stack: Stack, agent: ScriptedAgent, durability: int, moment: Callable[[Stack, str], Awaitable[None]]
) -> None:
    run_id = await stack.create(durability=durability)
    await moment(stack, run_id)
    script = agent.script(run_id)
    began = script.begun.is_set()
    follower = asyncio.create_task(stack.events(run_id))
    run = await stack.supervisor.cancel(TENANT, run_id)
    assert run.state == run_pb2.RUN_STATE_CANCELLED
    assert script.closed.is_set() is began, "its agent has let go"
    assert not any(item.status == item_pb2.ITEM_STATUS_IN_PROGRESS for item in run.output)
    script.say(TextDelta("too late"))
    events = await follower
    assert kinds(events)[-1] == "run_cancelled"
    assert kinds(events).count("run_cancelled") == 1
    assert run.usage == (USAGE if moment is speaking else run_pb2.Usage())
    assert await stack.get(run_id) == run
    # Again: it stays as it is.
    assert await stack.supervisor.cancel(TENANT, run_id) == run


async def test_a_queued_run_is_cancelled_before_its_turn(stack: Stack, agent: ScriptedAgent) -> None:
    first = await stack.create(conversation_id="talk")
    second = await stack.create(conversation_id="talk", busy_policy=run_pb2.BUSY_POLICY_QUEUE)
    await agent.script(first).begun.wait()
    run = await stack.supervisor.cancel(TENANT, second)
    assert run.state == run_pb2.RUN_STATE_CANCELLED
    assert kinds(await stack.events(second)) == ["run_queued", "run_cancelled"]
    assert not agent.script(second).begun.is_set()
    agent.script(first).end()
    assert (await stack.ended(first)).state == run_pb2.RUN_STATE_COMPLETED


async def test_a_run_that_is_over_is_not_cancelled(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create()
    agent.script(run_id).end()
    run = await stack.ended(run_id)
    assert await stack.supervisor.cancel(TENANT, run_id) == run
    assert run.state == run_pb2.RUN_STATE_COMPLETED


class OddAgent:
    """Does something of its own when it is cancelled."""

    def __init__(self, oddity: Callable[[], AsyncGenerator[Step, None]]) -> None:
        self.info = agent_pb2.Agent(name="scripted")
        self.waits = asyncio.Event()
        self._oddity = oddity

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:  # noqa: ARG002 - the agents' interface
        yield TextDelta("half")
        try:
            self.waits.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            async for step in self._oddity():
                yield step

    async def close(self) -> None:
        """Nothing to let go of."""


async def raises(error: Exception | None) -> AsyncGenerator[Step, None]:
    if error is not None:
        raise error
    nothing: list[Step] = []
    for step in nothing:
        yield step


def returns() -> AsyncGenerator[Step, None]:
    return raises(None)


def raises_a_bug() -> AsyncGenerator[Step, None]:
    return raises(RuntimeError("cancel scope"))


def raises_an_agent_error() -> AsyncGenerator[Step, None]:
    return raises(AgentError(run_pb2.RunError(reason="UPSTREAM_ERROR")))


async def goes_on_for_ever() -> AsyncGenerator[Step, None]:
    while True:
        yield TextDelta("more")
        await asyncio.sleep(0)


async def says_its_usage() -> AsyncGenerator[Step, None]:
    yield ModelCallCompleted("m", USAGE)
    raise asyncio.CancelledError


@pytest.mark.parametrize("oddity", [returns, raises_a_bug, raises_an_agent_error, goes_on_for_ever, says_its_usage])
async def test_whatever_an_agent_makes_of_its_cancel_the_run_is_cancelled(
    tmp_path: Path, oddity: Callable[[], AsyncGenerator[Step, None]]
) -> None:
    agent = OddAgent(oddity)
    async with running(tmp_path, agent) as stack:
        run_id = await stack.create()
        await agent.waits.wait()
        run = await stack.supervisor.cancel(TENANT, run_id)
        assert run.state == run_pb2.RUN_STATE_CANCELLED
        assert texts(run.output) == ["half"]
        assert run.usage == (USAGE if oddity is says_its_usage else run_pb2.Usage())


async def test_a_tool_may_wait_for_leave_while_the_clock_stands_still(tmp_path: Path) -> None:
    asked = AskingAgent()
    async with running(tmp_path, asked, run_seconds=30) as stack:
        run_id = await stack.supervisor.intake.create(TENANT, run_spec(conversation_id="talk"), [said("hello")])
        request = (await stack.seen(run_id, "approval_requested")).approval_requested
        assert (await stack.get(run_id)).state == run_pb2.RUN_STATE_REQUIRES_ACTION
        await _pass(31)
        session = item_pb2.APPROVAL_DECISION_SESSION
        await stack.supervisor.resolve_approval(TENANT, run_id, request.item_id, session, "fine")
        assert texts((await stack.ended(run_id)).output) == ["granted: fine"]
        # In this conversation nobody is asked again.
        again = await stack.supervisor.intake.create(TENANT, run_spec(conversation_id="talk"), [said("hello")])
        assert "approval_requested" not in kinds(await stack.events(again))


class AskingAgent:
    """Asks for leave for one call, and says what it got."""

    def __init__(self) -> None:
        self.info = agent_pb2.Agent(name="scripted", capabilities=agent_pb2.AgentCapabilities(resumable=True))

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        if not context.output:
            yield ToolCallStarted("c1", "shell", item_pb2.EXECUTOR_SERVER)
            yield ToolCallCompleted("c1")
        approval = await context.approval("c1")
        yield TextDelta(f"{'granted' if approval.granted else 'denied'}: {approval.reason}")

    async def close(self) -> None:
        """Nothing to let go of."""


async def test_leave_is_asked_for_once_over_restarts(tmp_path: Path) -> None:
    async with running(tmp_path, AskingAgent()) as stack:
        run_id = await stack.create()
        await stack.seen(run_id, "approval_requested")
    async with running(tmp_path, AskingAgent()) as stack:
        await stack.seen(run_id, "run_started", count=2)
        assert (await stack.get(run_id)).state == run_pb2.RUN_STATE_REQUIRES_ACTION
        deny = item_pb2.APPROVAL_DECISION_DENY
        await stack.supervisor.resolve_approval(TENANT, run_id, "", deny, "no")
        assert texts((await stack.ended(run_id)).output) == ["denied: no"]
        assert kinds(await stack.events(run_id)).count("approval_requested") == 1


@pytest.mark.parametrize("durability", [run_pb2.DURABILITY_LOGGED, run_pb2.DURABILITY_MEMORY])
async def test_a_run_that_waits_for_leave_can_be_cancelled(tmp_path: Path, durability: int) -> None:
    async with running(tmp_path, AskingAgent()) as stack:
        run_id = await stack.create(durability=durability)
        await stack.seen(run_id, "approval_requested")
        assert (await stack.supervisor.cancel(TENANT, run_id)).state == run_pb2.RUN_STATE_CANCELLED
