"""The demo agent does what its greeting says."""

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, tzinfo

import jsonschema
import pytest
from breezeway.v1 import agent_pb2, item_pb2, run_pb2
from breezeway_server.agents.base import AgentError, Approval
from breezeway_server.agents.demo.agent import DemoAgent
from breezeway_server.agents.demo.calculator import CalculatorError, calculate, find_expression
from breezeway_server.agents.demo.shapes import sample
from breezeway_server.agents.steps import ChoiceIncomplete, TextDelta
from hypothesis import given
from hypothesis import strategies as st

from tests.support.agents import COMPLETED, FakeRun, called, function_tool, returned, said, text_of

TOOLS = [
    function_tool("get_weather", '{"type":"object","properties":{"city":{"type":"string"}}}'),
    function_tool("look"),
]


def _now(zone: tzinfo) -> datetime:
    return datetime(2026, 3, 3, 12, 5, tzinfo=UTC).astimezone(zone)


@pytest.fixture
def demo() -> DemoAgent:
    return DemoAgent(agent_pb2.Agent(name="demo"), pace=0, now=_now)


def _kinds(run: FakeRun) -> list[str | None]:
    return [item.WhichOneof("kind") for item in run.output]


@pytest.mark.parametrize("text", ["hello", "Hi!", "help", "what can you do?", ""])
async def test_its_greeting_is_honest_and_lists_what_can_be_asked(demo: DemoAgent, text: str) -> None:
    run = await FakeRun.asking(text).work(demo)
    assert "I am Breezeway's demo agent, no model is behind me" in run.text
    assert "What you can ask" in run.text


async def test_it_calculates_for_real(demo: DemoAgent) -> None:
    run = await FakeRun.asking("what is 12*(3+4)?").work(demo)
    assert _kinds(run) == ["function_call", "function_call_output", "message"]
    assert run.output[0].function_call.executor == item_pb2.EXECUTOR_SERVER
    assert json.loads(run.output[0].function_call.arguments) == {"expression": "12*(3+4)"}
    assert run.text == "My calculator says: 84."


async def test_it_tells_the_time_for_real(demo: DemoAgent) -> None:
    run = await FakeRun.asking("what time is it in Berlin?").work(demo)
    assert run.text == "My clock says: 13:05 on Tuesday, 03 March 2026 (Europe/Berlin)."
    run = await FakeRun.asking("what time is it in New York, and what is 1+1").work(demo)
    assert "America/New_York" in run.text
    assert "My calculator says: 2." in run.text


@pytest.mark.parametrize("ask", ["what is 1/0?", "what time is it in Atlantis?", "what time is it in Europe?"])
async def test_a_tool_that_cannot_help_says_so(demo: DemoAgent, ask: str) -> None:
    run = await FakeRun.asking(ask).work(demo)
    assert run.output[1].function_call_output.is_error
    assert "could not help" in run.text


async def test_it_shows_reasoning_when_asked_to_think(demo: DemoAgent) -> None:
    run = await FakeRun.asking("think about 2+2").work(demo)
    assert _kinds(run) == ["reasoning", "function_call", "function_call_output", "message"]


@pytest.mark.parametrize(("ask", "count"), [("write 37 words", 37), ("a long answer please", 400)])
async def test_it_writes_as_much_as_asked(demo: DemoAgent, ask: str, count: int) -> None:
    run = await FakeRun.asking(ask).work(demo)
    assert len(run.text.split()) == count
    assert run.usage.output_tokens == count


async def test_it_calls_the_tool_that_is_named(demo: DemoAgent) -> None:
    run = await FakeRun.asking("please use get_weather and look", run_pb2.RunSpec(tools=TOOLS)).work(demo)
    assert [item.function_call.name for item in run.output] == ["get_weather", "look"]
    assert [item.function_call.executor for item in run.output] == [item_pb2.EXECUTOR_CLIENT] * 2
    assert json.loads(run.output[0].function_call.arguments) == {"city": "demo"}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED), ["get_weather"]),
        (run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED, functions=["look"], forced=True), ["look"]),
        (run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_NONE), []),
        (run_pb2.ToolChoice(mode=run_pb2.TOOL_CHOICE_MODE_AUTO), []),
    ],
)
async def test_it_keeps_to_the_tool_choice(demo: DemoAgent, choice: run_pb2.ToolChoice, names: list[str]) -> None:
    run = await FakeRun.asking("whatever", run_pb2.RunSpec(tools=TOOLS, tool_choice=choice)).work(demo)
    assert [item.function_call.name for item in run.output if item.HasField("function_call")] == names


async def test_it_says_what_the_callers_tool_returned(demo: DemoAgent) -> None:
    first = await FakeRun.asking("use look", run_pb2.RunSpec(tools=TOOLS)).work(demo)
    call_id = first.output[0].function_call.call_id
    run = FakeRun([returned(call_id, "a tree")], first.spec, [*first.input, *first.output])
    assert (await run.work(demo)).text == 'Your tool "look" returned: a tree'
    stateless = FakeRun([*first.input, called("c9", "look"), returned("c9", "a house")], first.spec)
    assert (await stateless.work(demo)).text == 'Your tool "look" returned: a house'


@pytest.mark.parametrize(("ask", "text"), [("fail", ""), ("Fail midway!", "This answer begins well, and then")])
async def test_it_fails_on_request(demo: DemoAgent, ask: str, text: str) -> None:
    run = FakeRun.asking(ask)
    with pytest.raises(AgentError, match="DEMO_FAILURE"):
        await run.work(demo)
    assert run.text == text


async def test_a_word_is_a_token(demo: DemoAgent) -> None:
    spec = run_pb2.RunSpec(sampling=run_pb2.Sampling(max_output_tokens=5))
    run = await FakeRun.asking("50 words", spec).work(demo)
    assert len(run.text.split()) == 5
    assert run.incomplete == [ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS)]
    assert run.usage.output_tokens == 5


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (run_pb2.Sampling(logprobs=True), "logprobs"),
        (run_pb2.Sampling(top_logprobs=2), "top_logprobs"),
        (run_pb2.Sampling(logit_bias={"1": 1}), "logit_bias"),
        (run_pb2.Sampling(n=2), "n"),
    ],
)
async def test_it_refuses_by_name_what_it_cannot_do(demo: DemoAgent, sampling: run_pb2.Sampling, param: str) -> None:
    run = FakeRun.asking("hello", run_pb2.RunSpec(sampling=sampling))
    with pytest.raises(AgentError) as caught:
        await run.work(demo)
    assert (caught.value.error.reason, caught.value.error.param) == ("INVALID_REQUEST", param)
    assert not run.steps


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (Approval(granted=True), 'My postcard says: "one to Ann" is written, though a demo has no stamps.'),
        (Approval(granted=False, reason="too dear"), "My postcard could not help: The call was denied: too dear."),
        (Approval(granted=False), "My postcard could not help: The call was denied."),
    ],
)
async def test_it_asks_for_approval(demo: DemoAgent, decision: Approval, text: str) -> None:
    run = await FakeRun([said("Approve one to Ann")], decide=decision).work(demo)
    assert run.text == text
    assert _kinds(run) == ["function_call", "approval_request", "function_call_output", "message"]


async def test_an_approval_is_asked_for_once_over_a_crash(demo: DemoAgent) -> None:
    first = FakeRun.asking("approve")
    task = asyncio.create_task(first.work(demo))
    await first.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = first.next_attempt()
    [decision] = again.approvals.values()
    decision.set_result(Approval(granted=True))
    await again.work(demo)
    assert _kinds(again) == ["function_call", "approval_request", "function_call_output", "message"]


async def test_it_ends_before_the_stop_text(demo: DemoAgent) -> None:
    run = await FakeRun.asking("50 words", run_pb2.RunSpec(sampling=run_pb2.Sampling(stop=["roofed"]))).work(demo)
    assert run.text == "A breezeway is the "
    assert not run.incomplete


async def test_it_answers_in_the_form_that_was_asked_for(demo: DemoAgent) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = run_pb2.ResponseFormat(json_schema=run_pb2.JsonSchemaFormat(schema=json.dumps(schema)))
    run = await FakeRun.asking("hello", run_pb2.RunSpec(response_format=wanted)).work(demo)
    jsonschema.validate(json.loads(run.text), schema)
    wanted = run_pb2.ResponseFormat(json_object=run_pb2.JsonObjectFormat())
    run = await FakeRun.asking("what is 1+1", run_pb2.RunSpec(response_format=wanted)).work(demo)
    assert json.loads(run.text)["answer"] == "My calculator says: 2."


async def test_the_callers_limit_of_tool_calls_holds(demo: DemoAgent) -> None:
    run = await FakeRun.asking("what is 1+1", run_pb2.RunSpec(max_tool_calls=0)).work(demo)
    assert run.incomplete == [ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_TOOL_CALLS)]
    assert _kinds(run) == ["function_call"]


@pytest.mark.parametrize("stop_after", range(1, 24))
async def test_a_later_attempt_says_exactly_the_rest(demo: DemoAgent, stop_after: int) -> None:
    ask = "think, what is 12*(3+4)?"
    whole = await FakeRun.asking(ask).work(demo)
    first = FakeRun.asking(ask)
    async with aclosing(first.follow(demo)) as steps:
        async for _ in steps:
            if len(first.steps) == stop_after:
                break
    again = await first.next_attempt().work(demo)
    assert text_of(again.output) == whole.text
    thoughts = ["".join(part for item in run.output for part in item.reasoning.content) for run in (again, whole)]
    assert thoughts[0] == thoughts[1]
    outputs = [item for item in again.output if item.HasField("function_call_output")]
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("text", "expression", "value"),
    [
        ("what is 12*(3+4)?", "12*(3+4)", "84"),
        ("2^10", "2^10", "1024"),
        ("7 / 2 please", "7 / 2", "3.5"),
        ("-3 - -4", "-3 - -4", "1"),
        ("0.1+0.2", "0.1+0.2", "0.30000000000000004"),
        ("6 × 7", "6 × 7", "42"),  # noqa: RUF001 - people write these signs
    ],
)
def test_arithmetic_is_found_and_done(text: str, expression: str, value: str) -> None:
    assert find_expression(text) == expression
    assert calculate(expression) == value


@pytest.mark.parametrize("text", ["I am 42", "call 555", "no numbers", "(1)", "3 +"])
def test_a_number_alone_is_no_arithmetic(text: str) -> None:
    assert find_expression(text) is None


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "1/0", "x", "__import__('os')", "(1", "(-8)**0.5", "1e308*1e308*10", ""]
)
def test_what_has_no_value_says_so(text: str) -> None:
    with pytest.raises(CalculatorError):
        calculate(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_search(text: str) -> None:
    expression = find_expression(text)
    assert expression is None or expression in text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "enum": ["x"]},
        {"type": "string", "minLength": 10},
        {"type": "string", "maxLength": 2},
        {"type": "integer", "minimum": 7},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"type": "array", "items": {"const": 3}, "minItems": 2},
        {"allOf": [{"properties": {"a": {"type": "boolean"}}, "required": ["a"]}], "type": "object"},
        {
            "type": "object",
            "properties": {"child": {"$ref": "#/$defs/node"}},
            "required": ["child"],
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
                    "required": ["next"],
                    "additionalProperties": False,
                }
            },
        },
    ],
)
def test_samples_fit_their_schemas(schema: dict[str, object]) -> None:
    jsonschema.validate(sample(schema), schema)


def test_all_items_are_whole_at_the_end() -> None:
    run = FakeRun.asking("x")
    run.take(TextDelta("a"))
    run.close()
    assert [item.status for item in run.output] == [COMPLETED]
