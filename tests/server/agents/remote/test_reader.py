"""What remote agents say, as steps, and what they may not say."""

from typing import Any

import pytest
from breezeway.v1 import agent_service_pb2, item_pb2, run_pb2
from breezeway_server.agents import steps
from breezeway_server.agents.remote.reader import BadStep, StepReader
from msgspec import structs

from tests.server.agents.remote import fake
from tests.server.agents.remote.fake import arguments, completed, needed, output, started, text
from tests.support.agents import INCOMPLETE, called, function_tool, returned

_SERVER = item_pb2.EXECUTOR_SERVER
_CLIENT = item_pb2.EXECUTOR_CLIENT
_SPEC = run_pb2.RunSpec(tools=[function_tool("theirs")], sampling=run_pb2.Sampling(n=2))


def step(**kind: Any) -> agent_service_pb2.AgentStep:
    return agent_service_pb2.AgentStep(**kind)


def thought(words: str, part: int, *, summary: bool = False) -> agent_service_pb2.AgentStep:
    delta = agent_service_pb2.AgentReasoningDelta(text=words, part_index=part, summary=summary)
    return step(reasoning_delta=delta)


def test_every_kind_of_step_is_read() -> None:
    part = item_pb2.ContentPart(text=item_pb2.Text(text="3"))
    usage = run_pb2.Usage(input_tokens=3, output_tokens=2, model_calls=1)
    delta = agent_service_pb2.AgentTextDelta(text="hi", choice_index=1, logprobs=["{}"])
    said = [
        step(text_delta=delta),
        step(refusal_delta=agent_service_pb2.AgentRefusalDelta(text="no")),
        thought("first", 0),
        thought("second", 1),
        thought("short", 0, summary=True),
        started("a"),
        arguments("a", "{}"),
        completed("a"),
        step(tool_progress=agent_service_pb2.AgentToolProgress(call_id="a", message="half")),
        output("a", "3"),
        started("b", "theirs", _CLIENT),
        completed("b"),
        step(model_call_completed=agent_service_pb2.AgentModelCallCompleted(model="m", usage=usage, last=True)),
        step(
            choice_incomplete=agent_service_pb2.AgentChoiceIncomplete(
                reason=item_pb2.INCOMPLETE_REASON_CONTENT_FILTER, choice_index=1
            )
        ),
    ]
    assert StepReader(_SPEC, []).read(fake.steps(*said)) == [
        steps.TextDelta("hi", 1, ("{}",)),
        steps.RefusalDelta("no"),
        steps.ReasoningDelta("first"),
        steps.ReasoningDelta("second", part_index=1),
        steps.ReasoningDelta("short", summary=True),
        steps.ToolCallStarted("a", "add", _SERVER),
        steps.ToolArgumentsDelta("a", "{}"),
        steps.ToolCallCompleted("a"),
        steps.ToolProgress("a", "half"),
        steps.ToolCallOutput("a", (part,)),
        steps.ToolCallStarted("b", "theirs", _CLIENT),
        steps.ToolCallCompleted("b"),
        steps.ModelCallCompleted("m", usage, last=True),
        steps.ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_CONTENT_FILTER, 1),
    ]


def test_every_field_of_a_step_is_in_the_contract() -> None:
    messages = agent_service_pb2.DESCRIPTOR.message_types_by_name
    for kind in steps.Step.__args__:
        fields = {field.name for field in messages[f"Agent{kind.__name__}"].fields}
        assert fields == {field.name for field in structs.fields(kind)}


def test_kinds_that_are_newer_are_skipped() -> None:
    newer = bytes([0x0A, 0x03, 0xF8, 0x7C, 0x01])  # A step with nothing but a field 1999.
    assert StepReader(_SPEC, []).read(newer + fake.steps(text("hi"))) == [steps.TextDelta("hi")]


def test_a_later_attempt_knows_the_calls_before_it() -> None:
    before = [called("a", "add", executor=_SERVER), called("b", "add", executor=_SERVER), returned("b", "3")]
    reader = StepReader(_SPEC, before)
    assert reader.read(fake.steps(output("a", "4")))
    with pytest.raises(BadStep, match="output already"):
        reader.read(fake.steps(output("b", "4")))
    with pytest.raises(BadStep, match="begun before"):
        reader.read(fake.steps(started("a")))


_WHOLE = [started("a"), completed("a")]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ([text("x", 2)], "choice_index 2"),
        ([thought("x", 1)], "part_index 1"),
        ([thought("x", 0), text("y"), thought("x", 1)], "part_index 1"),
        ([thought("x", 4_000_000_000)], "part_index 4000000000"),
        ([started("", "add")], "call_id and name"),
        ([started("a", "")], "call_id and name"),
        ([started("a", "add", item_pb2.EXECUTOR_UNSPECIFIED)], "no executor"),
        ([started("a", "add", _CLIENT)], "has no tool 'add'"),
        ([started("a"), started("a")], "begun before"),
        ([arguments("a", "{}")], "never begun"),
        ([*_WHOLE, arguments("a", "{}")], "whole already"),
        ([*_WHOLE, completed("a")], "whole already"),
        ([completed("a")], "never begun"),
        ([output("a", "3")], "never begun"),
        ([started("a"), output("a", "3")], "not whole yet"),
        ([*_WHOLE, output("a", "3"), output("a", "3")], "output already"),
        ([started("b", "theirs", _CLIENT), completed("b"), output("b", "3")], "not the agent's"),
        ([step(tool_progress=agent_service_pb2.AgentToolProgress(call_id="a"))], "never begun"),
        ([needed()], "names no call"),
        ([needed("a")], "never begun"),
        ([*_WHOLE, needed("a"), text("x")], "after the last"),
        ([step(run_failed=run_pb2.RunError(reason="X")), text("x")], "after the last"),
        (
            [
                step(
                    model_call_completed=agent_service_pb2.AgentModelCallCompleted(usage=run_pb2.Usage(input_tokens=-1))
                )
            ],
            "negative",
        ),
    ],
)
def test_what_cannot_be_is_named(said: list[agent_service_pb2.AgentStep], fault: str) -> None:
    with pytest.raises(BadStep, match=fault):
        StepReader(_SPEC, []).read(fake.steps(*said))


def test_a_call_that_was_cut_off_cannot_be_answered() -> None:
    reader = StepReader(_SPEC, [called("a", "add", executor=_SERVER, status=INCOMPLETE)])
    with pytest.raises(BadStep, match="not the agent's"):
        reader.read(fake.steps(output("a", "3")))


@pytest.mark.parametrize("message", [b"\xff\xff", b"not a message", b"\x0a\x04\x0a\x02\x0a\x09"])
def test_garbage_is_named(message: bytes) -> None:
    with pytest.raises(BadStep, match="no RunResponse"):
        StepReader(_SPEC, []).read(message)
