"""The loop: model call, tool calls, repeat, and going on after a crash."""

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.base import AgentError
from breezeway_server.agents.steps import ChoiceIncomplete, TextDelta, ToolCallOutput

from tests.server.agents.conftest import MakeAgent
from tests.support.agents import COMPLETED, FakeRun, called, function_tool, returned, said, text_of
from tests.support.model_server import DONE, Hold, ModelServer, Stream, answer, call, calls, finish, text, usage

HERE = "tests.server.agents.functions"
ADD = f"{HERE}:add"
SERVER = item_pb2.EXECUTOR_SERVER


def _kinds(run: FakeRun) -> list[str | None]:
    return [item.WhichOneof("kind") for item in run.output]


async def test_tools_run_and_the_model_is_told(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("add", {"a": 1}, call_id="c1"), before=text("Let me see.")), answer("It is 3."))
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun.asking("1+2?").work(agent)
    assert _kinds(run) == ["message", "function_call", "function_call_output", "message"]
    assert run.usage.model_calls == 2
    assert model.requests[1].messages == [
        {"role": "user", "content": "1+2?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
    ]


async def test_tools_of_one_turn_run_at_the_same_time_and_are_cancelled_with_their_run(
    model: ModelServer, llm: MakeAgent
) -> None:
    model.enqueue(calls(call("waits_for_ever", {}, call_id="slow"), call("add", {"a": 1}, call_id="fast", at=1)))
    async with llm(tools=[ADD, f"{HERE}:waits_for_ever"]) as agent:
        run = FakeRun.asking("go")
        fast_is_done = asyncio.Event()

        async def work() -> None:
            async for step in run.follow(agent):
                if isinstance(step, ToolCallOutput):
                    fast_is_done.set()

        task = asyncio.create_task(work())
        await fast_is_done.wait()
        assert _tools_at_work() == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert _tools_at_work() == 0


def _tools_at_work() -> int:
    return sum("_carry_out" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_the_callers_tools_end_the_run(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("look", {}, call_id="c1"), call("look", {}, call_id="c2", at=1)))
    async with llm() as agent:
        run = await FakeRun.asking("go", run_pb2.RunSpec(tools=[function_tool("look")])).work(agent)
    assert [item.function_call.executor for item in run.output] == [item_pb2.EXECUTOR_CLIENT] * 2
    assert len(model.requests) == 1


async def test_where_both_kinds_are_called_ours_run_and_the_run_ends_for_the_callers(
    model: ModelServer, llm: MakeAgent
) -> None:
    model.enqueue(calls(call("look", {}, call_id="c1"), call("add", {"a": 1}, call_id="c2", at=1)))
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun.asking("go", run_pb2.RunSpec(tools=[function_tool("look")])).work(agent)
        assert _kinds(run) == ["function_call", "function_call", "function_call_output"]
        then = FakeRun([returned("c1", "a tree")], run.spec, [*run.input, *run.output])
        await then.work(agent)
    assert [message["role"] for message in model.requests[1].messages] == ["user", "assistant", "tool", "tool"]


async def test_an_unknown_tool_is_told_to_the_model(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("nothing", {}, call_id="c1")), answer("sorry"))
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun.asking("go").work(agent)
    [output] = [step for step in run.steps if isinstance(step, ToolCallOutput)]
    assert output.is_error
    assert run.text == "sorry"


async def test_a_name_clash_is_refused_before_any_call(model: ModelServer, llm: MakeAgent) -> None:
    async with llm(tools=[ADD]) as agent:
        with pytest.raises(AgentError) as caught:
            await FakeRun.asking("go", run_pb2.RunSpec(tools=[function_tool("add")])).work(agent)
    assert (caught.value.error.reason, caught.value.error.param) == ("TOOL_NAME_CLASH", "tools")
    assert not model.requests


async def test_the_loop_ends_at_its_limit_of_iterations(model: ModelServer, llm: MakeAgent) -> None:
    model.models["first"] = lambda _: calls(call("add", {"a": 1}))
    async with llm(tools=[ADD], max_iterations=3) as agent:
        run = await FakeRun.asking("go").work(agent)
    assert run.steps[-1] == ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_ITERATIONS)
    assert len(model.requests) == 3


async def test_the_callers_limit_of_tool_calls_holds(model: ModelServer, llm: MakeAgent) -> None:
    model.models["first"] = calls(call("add", {"a": 1}), call("add", {"a": 2}, at=1))
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun.asking("go", run_pb2.RunSpec(max_tool_calls=3)).work(agent)
    assert run.steps[-1] == ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_TOOL_CALLS)
    assert len([step for step in run.steps if isinstance(step, ToolCallOutput)]) == 3


async def test_a_choice_that_must_be_a_tool_is_asked_for_once(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("add", {"a": 1})), answer("done"))
    choice = run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED)
    async with llm(tools=[ADD]) as agent:
        await FakeRun.asking("go", run_pb2.RunSpec(tool_choice=choice)).work(agent)
    assert [request.body["tool_choice"] for request in model.requests] == ["required", "auto"]


async def test_several_answers_come_side_by_side(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(Stream([*text("a"), *text("b", index=1), finish(), finish(index=1), usage(1, 2), DONE]))
    async with llm() as agent:
        run = await FakeRun.asking("go", run_pb2.RunSpec(sampling=run_pb2.Sampling(n=2))).work(agent)
    assert [(item.choice_index, text_of([item])) for item in run.output] == [(0, "a"), (1, "b")]
    assert model.requests[0].body["n"] == 2


async def test_several_answers_need_an_agent_without_tools(llm: MakeAgent) -> None:
    async with llm(tools=[ADD]) as agent:
        assert not agent.info.capabilities.multiple_choices
        with pytest.raises(AgentError, match="INVALID_REQUEST"):
            await FakeRun.asking("go", run_pb2.RunSpec(sampling=run_pb2.Sampling(n=2))).work(agent)


async def _crash_after(run: FakeRun, agent: Any, last: type) -> FakeRun:
    """Stop the run right after the first step of that kind, as a lost server does."""
    async with aclosing(run.follow(agent)) as steps:
        async for step in steps:
            if isinstance(step, last):
                break
    return run.next_attempt()


async def test_a_finished_tool_call_is_not_run_again_after_a_crash(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("add", {"a": 1}, call_id="c1")), answer("It is 3."))
    async with llm(tools=[ADD]) as agent:
        again = await _crash_after(FakeRun.asking("1+2?"), agent, ToolCallOutput)
        await again.work(agent)
    assert again.text == "It is 3."
    assert _kinds(again) == ["function_call", "function_call_output", "message"]
    assert len(model.requests) == 2


async def test_a_call_without_output_is_run_after_a_crash(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(answer("It is 3."))
    items = [called("c1", "add", '{"a": 1}', executor=SERVER)]
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun([said("1+2?")], attempt=2, items=items).work(agent)
    assert _kinds(run) == ["function_call", "function_call_output", "message"]
    assert len(model.requests) == 1


async def test_a_text_that_a_crash_cut_in_two_goes_on(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(Stream([*text("One, two, "), Hold()]), answer("three."))
    async with llm() as agent:
        again = await _crash_after(FakeRun.asking("Count."), agent, TextDelta)
        await again.work(agent)
        assert text_of(again.output) == "One, two, three."
        later = FakeRun([said("And?")], history=[*again.input, *again.output])
        await later.work(agent)
    assert model.requests[1].messages[-1] == {"role": "assistant", "content": "One, two, "}
    assert model.requests[2].messages[1] == {"role": "assistant", "content": "One, two, three."}


async def test_an_answer_that_was_whole_is_not_asked_for_again(model: ModelServer, llm: MakeAgent) -> None:
    items = [said("All said.", item_pb2.ROLE_ASSISTANT)]
    async with llm() as agent:
        run = await FakeRun([said("go")], attempt=2, items=items).work(agent)
    assert not run.steps
    assert not model.requests


async def test_an_answer_that_had_reached_its_limit_ends_so_again(model: ModelServer, llm: MakeAgent) -> None:
    cut = said("All sa", item_pb2.ROLE_ASSISTANT)
    cut.status, cut.incomplete_reason = item_pb2.ITEM_STATUS_INCOMPLETE, item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS
    async with llm() as agent:
        run = await FakeRun([said("go")], attempt=2, items=[cut]).work(agent)
    assert run.steps == [ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS)]


async def test_several_answers_are_not_mixed_after_a_crash(llm: MakeAgent) -> None:
    run = FakeRun([said("go")], run_pb2.RunSpec(sampling=run_pb2.Sampling(n=2)), attempt=2)
    run.items = [said("a", item_pb2.ROLE_ASSISTANT)]
    async with llm() as agent:
        with pytest.raises(AgentError, match="SERVER_RESTARTED"):
            await run.work(agent)


async def test_call_ids_stay_unique_over_all_turns(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(calls(call("add", {"a": 1}, call_id="call_0")), calls(call("add", {"a": 2}, call_id="call_0")))
    async with llm(tools=[ADD]) as agent:
        run = await FakeRun.asking("go").work(agent)
    ids = [item.function_call.call_id for item in run.output if item.HasField("function_call")]
    assert len(set(ids)) == 2
    assert all(item.status == COMPLETED for item in run.output)
    sent = json.dumps(model.requests[2].messages)
    assert all(sent.count(json.dumps(call_id)) == 2 for call_id in ids)
