"""MCP tools as an llm agent has them."""

from collections.abc import Callable
from typing import Any

import pytest
from breezeway_server.agents.base import Approval
from breezeway_server.agents.build import build_agents
from breezeway_server.agents.mcp.config import mcp_configs
from breezeway_server.agents.mcp.listing import describer, model_name
from breezeway_server.agents.steps import Step, ToolCallOutput, ToolProgress
from mcp_types import Tool

from tests.server.agents.conftest import NOW
from tests.support.agents import FakeRun, said
from tests.support.clock import HeldClock
from tests.support.mcp_servers import stdio_table
from tests.support.model_server import ModelServer, answer, call, calls


def _document(model: ModelServer, server: dict[str, Any], **keys: Any) -> dict[str, Any]:
    agent = {"kind": "llm", "model": "m", "base_url": model.base_url, "mcp": ["t"], **keys}
    return {"agents": {"helper": agent}, "mcp": {"t": server}}


async def _work(document: dict[str, Any], run: FakeRun, seen: Callable[[Step], None] = lambda _: None) -> FakeRun:
    """The run, worked to its end by the agent of that document; `seen` is told of each step."""
    registry = build_agents(document, {}, create_time=NOW)
    agent = registry.get("helper")
    assert agent is not None
    try:
        async for step in run.follow(agent):
            seen(step)
    finally:
        await registry.close()
    return run


async def test_the_model_is_offered_what_is_allowed_and_calls_it_once_it_may(model: ModelServer) -> None:
    server = stdio_table(allow=["add", "w*", "big"], deny=["with*"], approval={"add": "required"}, call_timeout=30)
    made = [call("t__add", {"a": 1, "b": 2}, call_id="c1"), call("t__waits", {}, call_id="c2", at=1)]
    model.enqueue(calls(*made, call("t__big", {"size": 9000}, call_id="c3", at=2)), answer("done"))
    run = FakeRun([said("go")], decide=Approval(granted=True))
    missing = {"c1", "c3"}
    with HeldClock.held() as clock:

        def seen(step: Step) -> None:
            """Once the other two have answered, the one that waits has had its time."""
            if isinstance(step, ToolCallOutput):
                missing.discard(step.call_id)
            if not missing and ToolProgress("c2", "half way") in run.steps:
                clock.move(31)

        await _work(_document(model, server, max_tool_output=50), run, seen)
    offered = [tool["function"]["name"] for tool in model.requests[0].body["tools"]]
    assert sorted(offered) == ["t__add", "t__big", "t__waits"]
    assert list(run.approvals) == ["c1"]
    assert ToolProgress("c2", "half way") in run.steps
    outputs = {step.call_id: step for step in run.steps if isinstance(step, ToolCallOutput)}
    assert outputs["c1"].content[0].text.text == "3"
    assert outputs["c2"].is_error
    assert outputs["c3"].content[0].text.text == "x" * 50 + "\n[cut: 9000 characters in all]"
    assert run.text == "done"


async def test_the_agents_rule_holds_where_the_server_has_none(model: ModelServer) -> None:
    model.enqueue(calls(call("t__add", {"a": 1, "b": 2}, call_id="c1")), answer("done"))
    run = FakeRun([said("go")], decide=Approval(granted=False, reason="no"))
    await _work(_document(model, stdio_table(), approval="required"), run)
    [output] = [step for step in run.steps if isinstance(step, ToolCallOutput)]
    assert output.content[0].text.text == "The call was denied: no"


async def test_a_server_that_is_not_there_is_no_fault_of_the_run(model: ModelServer) -> None:
    model.enqueue(calls(call("t__add", {}, call_id="c1")), answer("a pity"))
    run = await _work(_document(model, {"command": "/no/such/program"}), FakeRun.asking("go"))
    [output] = [step for step in run.steps if isinstance(step, ToolCallOutput)]
    assert output.is_error
    assert run.text == "a pity"
    assert "tools" not in model.requests[0].body


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("read_file", "files__read_file"),
        ("read.file", "files__read_file_4b1a3ce4"),
        ("x" * 80, "files__" + "x" * 48 + "_9a0f5e2a"),
    ],
)
def test_names_are_such_as_models_can_call(tool: str, name: str) -> None:
    made = model_name("files", tool)
    assert made[:-8] == name[:-8]
    assert len(made) == len(name) <= 64
    assert made != model_name("files", tool + "y")


def test_the_first_rule_that_fits_a_tool_holds() -> None:
    rules = {"read_*": "never", "*": "required"}
    config = mcp_configs({"mcp": {"files": {"command": "x", "approval": rules}}})["files"]
    describe = describer("files", config)
    found = [describe(Tool(name=name, input_schema={"type": "object"})) for name in ("read_file", "write_file")]
    assert [tool.approval for tool in found if tool is not None] == ["never", "required"]
