"""A history that is longer than the model can read."""

from collections.abc import Callable

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.base import AgentError
from breezeway_server.agents.llm.truncation import History
from hypothesis import given
from hypothesis import strategies as st

from tests.server.agents.conftest import MakeAgent
from tests.support.agents import FakeRun, called, returned, said
from tests.support.model_server import ModelServer, Refusal, Reply, Request, answer, error

ASSISTANT = item_pb2.ROLE_ASSISTANT
SERVER = item_pb2.EXECUTOR_SERVER
AUTO = run_pb2.RunSpec(truncation=run_pb2.TRUNCATION_AUTO)
TOO_LONG = error(400, "too long", code="context_length_exceeded", param="messages")


def _dialogue(turns: int) -> list[item_pb2.Item]:
    items = [said("be kind", item_pb2.ROLE_DEVELOPER)]
    for number in range(turns):
        items += [said(f"question {number}"), called(f"c{number}", "look", executor=SERVER)]
        items += [returned(f"c{number}", "seen"), said(f"answer {number}", ASSISTANT)]
    return items


def _reads(count: int, refusal: Reply = TOO_LONG) -> Callable[[Request], Reply]:
    """A model that reads that many messages."""
    return lambda request: answer("well") if len(request.messages) <= count else refusal


async def test_the_oldest_turns_are_left_out_until_the_model_can_read_the_rest(
    model: ModelServer, llm: MakeAgent
) -> None:
    model.models["first"] = _reads(12)
    async with llm(instructions="be brief") as agent:
        run = await FakeRun([said("now")], AUTO, _dialogue(10)).work(agent)
    assert run.text == "well"
    assert [len(request.messages) for request in model.requests] == [43, 23, 11]
    assert [message["role"] for message in model.requests[-1].messages] == [
        "system",
        "developer",
        *["user", "assistant", "tool", "assistant"] * 2,
        "user",
    ]
    assert model.requests[-1].messages[2]["content"] == "question 8"
    assert model.requests[-1].messages[-1]["content"] == "now"


async def test_where_nothing_is_left_to_leave_out_the_error_stands(model: ModelServer, llm: MakeAgent) -> None:
    model.models["first"] = TOO_LONG
    async with llm() as agent:
        with pytest.raises(AgentError) as caught:
            await FakeRun([said("now")], AUTO, _dialogue(10)).work(agent)
    assert caught.value.error.upstream_code == "context_length_exceeded"
    assert [len(request.messages) for request in model.requests] == [42, 22, 10, 6, 2]


@pytest.mark.parametrize("truncation", [run_pb2.TRUNCATION_UNSPECIFIED, run_pb2.TRUNCATION_DISABLED])
async def test_without_leave_to_truncate_the_error_stands(
    model: ModelServer, llm: MakeAgent, truncation: run_pb2.Truncation.ValueType
) -> None:
    model.models["first"] = TOO_LONG
    async with llm() as agent:
        with pytest.raises(AgentError, match="UPSTREAM_REJECTED"):
            await FakeRun([said("now")], run_pb2.RunSpec(truncation=truncation), _dialogue(3)).work(agent)
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens"),
        error(413, "the request exceeds the available context size, try increasing it"),
        error(400, "Your input exceeds the context window of this model."),
        error(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        Refusal(400, {"object": "error", "message": "This model's maximum context length is 10 tokens.", "code": 400}),
    ],
)
async def test_other_servers_say_it_in_other_words(model: ModelServer, llm: MakeAgent, refusal: Refusal) -> None:
    model.models["first"] = _reads(6, refusal)
    async with llm() as agent:
        assert (await FakeRun([said("now")], AUTO, _dialogue(3)).work(agent)).text == "well"


async def test_another_refusal_leaves_nothing_out(model: ModelServer, llm: MakeAgent) -> None:
    model.models["first"] = error(400, "max_tokens is too large", param="max_tokens")
    async with llm() as agent:
        with pytest.raises(AgentError, match="UPSTREAM_REJECTED"):
            await FakeRun([said("now")], AUTO, _dialogue(3)).work(agent)
    assert len(model.requests) == 1


async def test_a_history_that_the_input_brings_is_history(model: ModelServer, llm: MakeAgent) -> None:
    model.models["first"] = _reads(6)
    spec = run_pb2.RunSpec(truncation=run_pb2.TRUNCATION_AUTO, explicit_history=True)
    async with llm() as agent:
        run = await FakeRun([*_dialogue(4), said("and"), said("now")], spec).work(agent)
    assert run.text == "well"
    assert [message["content"] for message in model.requests[-1].messages] == ["be kind", "and", "now"]


def test_a_call_stays_with_an_output_that_comes_in_the_input() -> None:
    past = [said("one"), said("two"), called("c1", "look"), said("three")]
    history = History(past, [returned("c1", "seen")])
    assert history.shorten()
    assert history.items == [*past[1:], returned("c1", "seen")]
    assert not history.shorten()


_TURN = st.lists(st.sampled_from(["user", "developer", "assistant", "call", "output"]), max_size=30)


@given(kinds=_TURN, split=st.integers(0, 30), data=st.data())
def test_no_output_is_ever_without_its_call_and_no_instruction_is_lost(
    kinds: list[str], split: int, data: st.DataObject
) -> None:
    items: list[item_pb2.Item] = []
    open_calls: list[str] = []
    for number, kind in enumerate(kinds):
        if kind == "call":
            open_calls.append(f"c{number}")
            items.append(called(f"c{number}", "look"))
        elif kind == "output" and open_calls:
            items.append(returned(open_calls.pop(data.draw(st.integers(0, len(open_calls) - 1))), "seen"))
        else:
            roles = {"developer": item_pb2.ROLE_DEVELOPER, "assistant": ASSISTANT}
            items.append(said(str(number), roles.get(kind, item_pb2.ROLE_USER)))
    past, new = items[:split], items[split:]
    instructions = [item for item in items if item.message.role == item_pb2.ROLE_DEVELOPER]
    history = History(past, new)
    assert history.items == items
    tries = 0
    while history.shorten():
        tries += 1
        left = history.items
        made = {item.function_call.call_id for item in left if item.HasField("function_call")}
        assert {item.function_call_output.call_id for item in left if item.HasField("function_call_output")} <= made
        assert [item for item in left if item.message.role == item_pb2.ROLE_DEVELOPER] == instructions
        assert left[len(left) - len(new) :] == new
    assert tries <= 6
