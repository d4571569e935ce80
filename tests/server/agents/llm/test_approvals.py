"""Calls that somebody has to allow."""

import asyncio
from typing import Any

import pytest
from breezeway.v1 import item_pb2
from breezeway_server.agents.base import Agent, Approval
from breezeway_server.agents.steps import ToolCallOutput

from tests.server.agents.conftest import MakeAgent
from tests.support.agents import FakeRun, called, said
from tests.support.model_server import ModelServer, answer, call, calls

HERE = "tests.server.agents.functions"
ADD = {"path": f"{HERE}:add", "approval": "required"}
FAR = f"{HERE}:far"
GRANTED = Approval(granted=True)


def _outputs(run: FakeRun) -> dict[str, tuple[str, bool]]:
    outputs = [step for step in run.steps if isinstance(step, ToolCallOutput)]
    return {output.call_id: (output.content[0].text.text, output.is_error) for output in outputs}


async def _until_asked(run: FakeRun, agent: Agent) -> FakeRun:
    """Let the run go until it asks, and lose its server there."""
    task = asyncio.create_task(run.work(agent))
    await run.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return run.next_attempt()


@pytest.mark.parametrize(
    ("decision", "output"),
    [
        (GRANTED, ("3", False)),
        (Approval(granted=False, reason="not today"), ("The call was denied: not today", True)),
        (Approval(granted=False), ("The call was denied.", True)),
    ],
)
async def test_a_call_is_run_or_denied_as_was_decided(
    model: ModelServer, llm: MakeAgent, decision: Approval, output: tuple[str, bool]
) -> None:
    model.enqueue(calls(call("add", {"a": 1}, call_id="c1")), answer("well"))
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun([said("go")], decide=decision).work(agent)
    assert _outputs(run) == {"c1": output}
    assert run.text == "well"
    assert model.requests[1].messages[-1] == {"role": "tool", "tool_call_id": "c1", "content": output[0]}


async def test_each_call_asks_for_itself_and_the_others_run_meanwhile(model: ModelServer, llm: MakeAgent) -> None:
    made = [call("add", {"a": 1}, call_id="c1"), call("add", {"a": 2}, call_id="c2", at=1)]
    model.enqueue(calls(*made, call("far", {"point": {"x": 3}}, call_id="c3", at=2)), answer("well"))
    async with llm(tools=[ADD, FAR]) as agent:
        run = FakeRun.asking("go")
        async for step in run.follow(agent):
            if isinstance(step, ToolCallOutput) and step.call_id == "c3":
                assert set(run.approvals) == {"c1", "c2"}
                run.approvals["c2"].set_result(Approval(granted=False))
            if isinstance(step, ToolCallOutput) and step.call_id == "c2":
                run.approvals["c1"].set_result(GRANTED)
    assert list(_outputs(run)) == ["c3", "c2", "c1"]


@pytest.mark.parametrize(
    ("tool", "rule", "asks"),
    [
        (FAR, "required", True),
        (FAR, "never", False),
        ({"path": FAR, "approval": "never"}, "required", False),
        ({"path": FAR}, "required", True),
    ],
)
async def test_the_agents_rule_is_for_tools_without_their_own(
    model: ModelServer, llm: MakeAgent, tool: Any, rule: str, asks: bool
) -> None:
    model.enqueue(calls(call("far", {"point": {"x": 3}}, call_id="c1")))
    async with llm(tools=[tool], approval=rule) as agent:
        run = await FakeRun([said("go")], decide=GRANTED).work(agent)
    assert bool(run.approvals) is asks


async def test_a_call_that_waits_is_not_asked_for_again_after_a_crash(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("add", {"a": 1}, call_id="c1")), answer("well"))
    async with llm(tools=[ADD]) as agent:
        again = await _until_asked(FakeRun.asking("go"), agent)
        again.approvals["c1"].set_result(GRANTED)
        await again.work(agent)
    assert _outputs(again) == {"c1": ("3", False)}
    assert sum(item.HasField("approval_request") for item in again.output) == 1
    assert len(model.requests) == 2


async def test_rounds_are_counted_past_approvals(model: ModelServer, llm: MakeAgent) -> None:
    """Two outputs of one round with a request between them, as a crash can leave them, are one round."""
    run = FakeRun.asking("go")
    run.items = [
        called("c1", "add", '{"a": 1}', executor=item_pb2.EXECUTOR_SERVER),
        called("c2", "add", '{"a": 2}', executor=item_pb2.EXECUTOR_SERVER),
    ]
    run.decide = GRANTED
    model.enqueue(calls(call("add", {"a": 3}, call_id="c3")), answer("well"))
    async with llm(tools=[ADD], max_iterations=3) as agent:
        await run.work(agent)
    assert run.text == "well"
