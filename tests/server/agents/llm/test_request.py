"""What reaches the model."""

import json
from typing import Any

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.base import AgentError
from breezeway_server.agents.llm.messages import to_messages
from breezeway_server.agents.llm.request import base_body, encode, tool_choice
from google.protobuf import text_format

from tests.support.agents import INCOMPLETE, called, returned, said

SERVER = item_pb2.EXECUTOR_SERVER
ASSISTANT = item_pb2.ROLE_ASSISTANT


def _body(spec: str, **defaults: Any) -> dict[str, Any]:
    parsed = text_format.Parse(spec, run_pb2.RunSpec())
    body: dict[str, Any] = json.loads(encode(base_body(parsed, defaults, []), model="m"))
    return body


def _message(text: str) -> item_pb2.Item:
    return item_pb2.Item(message=text_format.Parse(text, item_pb2.Message()))


def test_only_what_is_set_is_sent() -> None:
    assert _body("") == {"model": "m", "stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sampling { temperature: 0 top_p: 0.5 }", {"temperature": 0, "top_p": 0.5}),
        ("sampling { presence_penalty: -1 frequency_penalty: 1 }", {"presence_penalty": -1, "frequency_penalty": 1}),
        ("sampling { max_output_tokens: 9 seed: -3 n: 2 }", {"max_completion_tokens": 9, "seed": -3, "n": 2}),
        ('sampling { stop: "a" stop: "b" }', {"stop": ["a", "b"]}),
        ("sampling { logprobs: true top_logprobs: 2 }", {"logprobs": True, "top_logprobs": 2}),
        ('sampling { logit_bias { key: "50256" value: -100 } }', {"logit_bias": {"50256": -100}}),
        ("parallel_tool_calls: false", {"parallel_tool_calls": False}),
        ('reasoning { effort: "low" summary: "auto" }', {"reasoning_effort": "low"}),
        ('user: "u" safety_identifier: "s"', {"user": "u", "safety_identifier": "s"}),
        ('prompt_cache_key: "p" service_tier: "flex"', {"prompt_cache_key": "p", "service_tier": "flex"}),
        ('verbosity: "low"', {"verbosity": "low"}),
        ('metadata { key: "a" value: "b" }', {}),
        ("response_format { text {} }", {"response_format": {"type": "text"}}),
        ("response_format { json_object {} }", {"response_format": {"type": "json_object"}}),
        (
            'response_format { json_schema { name: "n" schema: "{\\"a\\": 1}" strict: true } }',
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True},
                }
            },
        ),
        (
            'tools { function { name: "f" description: "d" parameters: "{}" strict: false } }',
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "description": "d", "parameters": {}, "strict": False},
                    }
                ]
            },
        ),
        ('model_options { key: "top_k" value: "5" }', {"top_k": 5}),
    ],
)
def test_each_parameter_is_passed_on(spec: str, expected: dict[str, Any]) -> None:
    body = _body(spec)
    assert {key: body[key] for key in body if key not in {"model", "stream", "stream_options"}} == expected


def test_json_that_is_only_carried_stays_byte_for_byte() -> None:
    options = {"seed_64": "12345678901234567890123", "odd": '{"b": 1.10, "a":2}'}
    body = encode(base_body(run_pb2.RunSpec(model_options=options), {}, []), model="m")
    assert b"12345678901234567890123" in body
    assert b'{"b": 1.10, "a":2}' in body


def test_max_tokens_replaces_the_newer_word() -> None:
    body = _body('sampling { max_output_tokens: 9 } model_options { key: "max_tokens" value: "9" }')
    assert body["max_tokens"] == 9
    assert "max_completion_tokens" not in body


@pytest.mark.parametrize("options", [{"model": '"other"'}, {"stream": "false"}, {"x": '1, "model": "other"'}])
def test_options_cannot_say_what_is_ours_to_say(options: dict[str, str]) -> None:
    with pytest.raises(AgentError, match="INVALID_REQUEST"):
        base_body(run_pb2.RunSpec(model_options=options), {}, [])


def test_the_callers_sampling_wins_over_the_agents() -> None:
    body = _body("sampling { temperature: 1 }", temperature=0.2, top_p=0.1)
    assert (body["temperature"], body["top_p"]) == (1, 0.1)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("mode: TOOL_CHOICE_MODE_AUTO", "auto"),
        ("mode: TOOL_CHOICE_MODE_NONE", "none"),
        ("mode: TOOL_CHOICE_MODE_REQUIRED", "required"),
        (
            'mode: TOOL_CHOICE_MODE_REQUIRED functions: "f" forced: true',
            {"type": "function", "function": {"name": "f"}},
        ),
        (
            'mode: TOOL_CHOICE_MODE_AUTO functions: "f" functions: "g"',
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": name}} for name in "fg"],
                },
            },
        ),
    ],
)
def test_the_tool_choice_has_its_forms(choice: str, expected: Any) -> None:
    assert tool_choice(text_format.Parse(choice, run_pb2.ToolChoice()), tools_have_run=False) == expected


def test_instructions_stand_in_front_and_the_dialogue_keeps_its_order() -> None:
    items = [
        said("a"),
        said("sys", item_pb2.ROLE_SYSTEM),
        said("b", ASSISTANT),
        said("dev", item_pb2.ROLE_DEVELOPER),
        said("c"),
    ]
    assert to_messages(["own", "", "callers"], items, []) == [
        {"role": "system", "content": "own\n\ncallers"},
        {"role": "system", "content": "sys"},
        {"role": "developer", "content": "dev"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]


def test_every_content_part_is_kept() -> None:
    message = _message("""
        role: ROLE_USER name: "ann"
        content { text { text: "a" } }
        content { image { url: "https://x/y.png" detail: "low" } }
        content { file { filename: "f.pdf" data: "data:application/pdf;base64,AA" } }
        content { text { text: "b" } }
    """)
    assert to_messages([], [message], []) == [
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                {"type": "file", "file": {"filename": "f.pdf", "file_data": "data:application/pdf;base64,AA"}},
                {"type": "text", "text": "b"},
            ],
        }
    ]


@pytest.mark.parametrize("part", ['image { file_id: "f" }', 'file { url: "https://x/f.pdf" }'])
def test_content_that_this_wire_cannot_carry_is_refused(part: str) -> None:
    with pytest.raises(AgentError, match="UNSUPPORTED_CONTENT_TYPE"):
        to_messages([], [_message(f"role: ROLE_USER content {{ {part} }}")], [])


def test_a_refusal_goes_back_as_one() -> None:
    message = _message('role: ROLE_ASSISTANT content { refusal { text: "no" } }')
    assert to_messages([], [message], []) == [{"role": "assistant", "content": None, "refusal": "no"}]


def test_calls_belong_to_the_assistant_message_of_their_turn() -> None:
    items = [
        said("go"),
        called("1", "a"),
        said("two at once", ASSISTANT),
        called("2", "b"),
        returned("2", "B"),
        returned("1", "A"),
        called("3", "c"),
        returned("3", "C"),
    ]
    messages = to_messages([], items, [])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant", "tool"]
    assert messages[1]["content"] == "two at once"
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["1", "2"]
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == ["2", "1", "3"]


def test_pictures_of_tools_stand_in_a_message_of_the_user_behind_all_outputs_of_the_turn() -> None:
    seen = returned("1", "a view")
    seen.function_call_output.content.add().image.url = "data:image/png;base64,AA"
    items = [said("go"), called("1", "look"), called("2", "a"), seen, returned("2", "A"), said("nice", ASSISTANT)]
    messages = to_messages([], items, [])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert [part["text"] for part in messages[2]["content"]] == ["a view", "[More of this in the next message.]"]
    assert messages[4]["content"] == [
        {"type": "text", "text": "Given back by the tool look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
    ]
    assert to_messages([], items[:4], [])[-1] == messages[4]


def test_thoughts_and_cut_calls_are_left_out() -> None:
    thought = item_pb2.Item(reasoning=item_pb2.Reasoning(content=["hm"]))
    assert to_messages([], [said("go"), thought, called("1", "a", '{"x', status=INCOMPLETE)], []) == [
        {"role": "user", "content": "go"}
    ]


def test_a_call_of_ours_that_an_earlier_run_left_open_is_closed() -> None:
    items = [said("go"), called("1", "a", executor=SERVER), said("and now?")]
    messages = to_messages([], items, [])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "user"]
    assert messages[2]["tool_call_id"] == "1"
