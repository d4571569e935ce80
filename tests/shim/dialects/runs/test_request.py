from typing import Any

import msgspec
import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_shim.dialects.headers import RunOptions
from breezeway_shim.dialects.runs.request import RunCall, chosen_agent, parse, parse_approval
from breezeway_shim.errors import RequestError

NO_HEADERS = RunOptions()


def call(options: RunOptions = NO_HEADERS, **fields: Any) -> RunCall:
    return parse(msgspec.json.encode({"input": "hello", **fields}), options)


def texts(items: list[item_pb2.Item]) -> list[str]:
    return [part.text.text for item in items for part in item.message.content]


def test_a_string_is_a_message_of_the_user_in_a_stored_run_that_goes_on_by_itself() -> None:
    made = call(model="helper", instructions="Be brief.", metadata={"a": "b"})
    assert made.spec == run_pb2.RunSpec(
        agent="helper",
        instructions="Be brief.",
        metadata={"a": "b"},
        durability=run_pb2.DURABILITY_LOGGED,
        background=True,
        dialect="runs",
    )
    assert [item.message.role for item in made.input] == [item_pb2.ROLE_USER]
    assert texts(made.input) == ["hello"]


def test_items_are_taken_as_they_are_in_responses() -> None:
    made = call(input=[{"role": "user", "content": [{"type": "input_text", "text": "look"}]}])
    assert texts(made.input) == ["look"]
    assert made.field_to_param("input[0].message.content[0]") == "input[0].content[0]"


@pytest.mark.parametrize("name", ["session_id", "conversation"])
def test_a_conversation_has_two_names(name: str) -> None:
    assert call(NO_HEADERS, **{name: "mine"}).spec.conversation_id == "mine"
    assert call(RunOptions(conversation_id="mine"), **{name: "mine"}).spec.conversation_id == "mine"


def test_a_history_that_is_given_wins_over_what_is_stored() -> None:
    history = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    beside_a_run = call(conversation_history=history, previous_response_id="resp_1")
    assert (beside_a_run.spec.previous_run_id, beside_a_run.spec.explicit_history) == ("", False)
    assert texts(beside_a_run.input) == ["one", "two", "hello"]
    assert call(conversation_history=history, session_id="mine").spec.explicit_history
    assert not call(session_id="mine").spec.explicit_history


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "invalid_type"),
        ({"tools": []}, "tools", "unsupported_parameter"),
        ({"session_id": "a", "conversation": "b"}, "session_id", "invalid_value"),
        (
            {"session_id": "a", "previous_response_id": "resp_1"},
            "previous_response_id",
            "mutually_exclusive_parameters",
        ),
        ({"busy_policy": "later"}, "busy_policy", "invalid_value"),
        ({"input": [{"role": "nobody", "content": ""}]}, "input[0].role", "invalid_value"),
        (
            {"conversation_history": [{"type": "picture"}]},
            "conversation_history[0].type",
            "unsupported_value",
        ),
    ],
)
def test_a_fault_is_named(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        call(**fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_input_is_required() -> None:
    with pytest.raises(RequestError) as caught:
        parse(b"{}")
    assert (caught.value.param, caught.value.code) == ("input", "missing_required_parameter")


@pytest.mark.parametrize(
    ("names", "agent"),
    [
        (["only"], "only"),
        (["a", "assistant", "demo"], "assistant"),
        (["a", "demo"], "demo"),
    ],
)
def test_who_names_no_model_gets_the_only_agent_or_the_default(names: list[str], agent: str) -> None:
    assert chosen_agent(names) == agent


@pytest.mark.parametrize("names", [["a", "b"], []])
def test_without_a_default_the_model_is_required(names: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        chosen_agent(names)
    assert (caught.value.param, caught.value.code) == ("model", "missing_required_parameter")


@pytest.mark.parametrize(
    ("body", "param"), [(b'{"choice": "maybe"}', "choice"), (b"{}", "choice"), (b'{"choice": "once", "all": 1}', "all")]
)
def test_a_decision_that_there_is_not_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_approval(body)
    assert caught.value.param == param
