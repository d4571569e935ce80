from typing import Any

import msgspec
import pytest
from breezeway.v1 import item_pb2, run_pb2, stream_service_pb2
from breezeway_shim.dialects.chat_completions.history import affinity_key
from breezeway_shim.dialects.chat_completions.messages import items_of as items_of_messages
from breezeway_shim.dialects.chat_completions.request import ChatCall, parse
from breezeway_shim.dialects.chat_completions.schema import ChatMessage
from breezeway_shim.dialects.headers import RunOptions
from breezeway_shim.errors import RequestError
from google.protobuf import json_format

USER = {"role": "user", "content": "hi"}


CANCEL = stream_service_pb2.DISCONNECT_POLICY_CANCEL
CONTINUE = stream_service_pb2.DISCONNECT_POLICY_CONTINUE


def parsed(options: RunOptions | None = None, **fields: Any) -> ChatCall:
    return parse(msgspec.json.encode({"model": "demo", "messages": [USER], **fields}), options or RunOptions())


def spec_of(**fields: Any) -> dict[str, Any]:
    spec: dict[str, Any] = json_format.MessageToDict(parsed(**fields).run.spec, preserving_proto_field_name=True)
    return spec


def items_of(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    items = parsed(messages=list(messages)).run.input
    return [json_format.MessageToDict(item, preserving_proto_field_name=True) for item in items]


def refused(**fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    assert caught.value.status == 400
    return caught.value.param, caught.value.code


FUNCTION = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "x": 12345678901234567890}}
HONOURED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0}, {"sampling": {"temperature": 0.0}}),
    ({"temperature": "0.5"}, {"sampling": {"temperature": 0.5}}),
    (
        {"top_p": 1, "presence_penalty": -2, "frequency_penalty": 2},
        {"sampling": {"top_p": 1.0, "presence_penalty": -2.0, "frequency_penalty": 2.0}},
    ),
    ({"max_completion_tokens": 5}, {"sampling": {"max_output_tokens": 5}}),
    ({"max_tokens": 5}, {"sampling": {"max_output_tokens": 5}, "model_options": {"max_tokens": "5"}}),
    ({"stop": "END"}, {"sampling": {"stop": ["END"]}}),
    ({"stop": ["a", "b"]}, {"sampling": {"stop": ["a", "b"]}}),
    (
        {"seed": -7, "n": 2, "logprobs": True, "top_logprobs": 0},
        {"sampling": {"seed": "-7", "n": 2, "logprobs": True, "top_logprobs": 0}},
    ),
    ({"logit_bias": {"50256": -100}}, {"sampling": {"logit_bias": {"50256": -100.0}}}),
    ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
    (
        {"verbosity": "high", "service_tier": "flex", "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"},
        {"verbosity": "high", "service_tier": "flex", "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"},
    ),
    ({"store": True, "metadata": {"a": "b"}}, {"durability": "DURABILITY_LOGGED", "metadata": {"a": "b"}}),
    ({"store": "true"}, {"durability": "DURABILITY_LOGGED"}),
    ({"busy_policy": "queue"}, {"busy_policy": "BUSY_POLICY_QUEUE"}),
    ({"modalities": ["text"]}, {}),
    (
        {"tools": [{"type": "function", "function": FUNCTION}]},
        {
            "tools": [
                {
                    "function": {
                        "name": "add",
                        "description": "Adds.",
                        "parameters": '{"type":"object","x":12345678901234567890}',
                    }
                }
            ]
        },
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": False, "parameters": None}}]},
        {"tools": [{"function": {"name": "f", "strict": False}}]},
    ),
    ({"tool_choice": "none"}, {"tool_choice": {"mode": "TOOL_CHOICE_MODE_NONE"}}),
    ({"tool_choice": "auto"}, {"tool_choice": {"mode": "TOOL_CHOICE_MODE_AUTO"}}),
    ({"tool_choice": "required"}, {"tool_choice": {"mode": "TOOL_CHOICE_MODE_REQUIRED"}}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "add"}}},
        {"tool_choice": {"mode": "TOOL_CHOICE_MODE_REQUIRED", "functions": ["add"], "forced": True}},
    ),
    (
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "add"}}]},
            }
        },
        {"tool_choice": {"mode": "TOOL_CHOICE_MODE_AUTO", "functions": ["add"]}},
    ),
    ({"response_format": {"type": "text"}}, {"response_format": {"text": {}}}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"json_object": {}}}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True}}},
        {"response_format": {"json_schema": {"name": "n", "schema": '{"a":1}', "strict": True}}},
    ),
    (
        {"prediction": {"type": "content", "content": "x"}, "web_search_options": {}, "top_k": 4, "nothing": None},
        {"model_options": {"prediction": '{"type":"content","content":"x"}', "web_search_options": "{}", "top_k": "4"}},
    ),
    (
        {
            "temperature": None,
            "stop": None,
            "n": None,
            "tools": None,
            "stream": None,
            "stream_options": None,
            "metadata": None,
            "functions": None,
            "audio": None,
        },
        {},
    ),
]


@pytest.mark.parametrize(("fields", "expected"), HONOURED)
def test_each_parameter_reaches_the_server(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    bare = {
        "agent": "demo",
        "dialect": "chat_completions",
        "durability": "DURABILITY_MEMORY",
        "sampling": {},
        "affinity_key": affinity_key(items_of_messages([ChatMessage(role="user", content="hi")])),
    }
    assert spec_of(**fields) == bare | expected


REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
    ({"function_call": "auto"}, "function_call", "unsupported_parameter"),
    ({"audio": {"voice": "alloy"}}, "audio", "unsupported_parameter"),
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type", "unsupported_value"),
    ({"tool_choice": "sometimes"}, "tool_choice", "invalid_value"),
    ({"tool_choice": {"type": "custom", "custom": {"name": "c"}}}, "tool_choice", "invalid_value"),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}}},
        "tool_choice",
        "invalid_value",
    ),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation",
        "unsupported_value",
    ),
    ({"stream": True, "stream_options": {"padding": 1}}, "stream_options.padding", "unknown_parameter"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "color": "red"}}},
        "response_format.json_schema.color",
        "unknown_parameter",
    ),
    ({"temperature": 2.5}, "temperature", "invalid_value"),
    ({"temperature": "NaN"}, "temperature", "invalid_value"),
    ({"n": 0}, "n", "invalid_value"),
    ({"max_tokens": -1}, "max_tokens", "invalid_value"),
    ({"seed": 2**63}, "seed", "invalid_value"),
    ({"metadata": {"a": 1}}, "metadata", "invalid_type"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": "hi"}, "messages", "invalid_type"),
    ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
    ({"messages": [USER, {"content": "x"}]}, "messages[1].role", "missing_required_parameter"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role", "unsupported_value"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_content_part"),
    ({"messages": [{"role": "assistant"}]}, "messages[0].content", "invalid_content_part"),
    (
        {"messages": [{"role": "assistant", "content": "x", "function_call": {"name": "f"}}]},
        "messages[0].function_call",
        "unsupported_parameter",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]}]},
        "messages[0].tool_calls[0].type",
        "unsupported_value",
    ),
    ({"busy_policy": "barge_in"}, "busy_policy", "invalid_value"),
    ({"model": None}, "model", "invalid_type"),
    ({"model": ""}, "model", "invalid_value"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED)
def test_what_is_not_supported_is_refused_by_name(fields: dict[str, Any], param: str, code: str) -> None:
    assert refused(**fields) == (param, code)


def test_a_missing_model_is_named() -> None:
    with pytest.raises(RequestError) as caught:
        parse(b'{"messages":[{"role":"user","content":"x"}]}')
    assert caught.value.param == "model"


PARTS: list[tuple[Any, str]] = [
    ("hi", "invalid_content_part"),
    ({}, "invalid_content_part"),
    ({"type": "text"}, "invalid_content_part"),
    ({"type": "text", "text": 5}, "invalid_content_part"),
    ({"type": "image_url"}, "invalid_content_part"),
    ({"type": "image_url", "image_url": {"url": "ftp://x/y.png"}}, "invalid_image_url"),
    ({"type": "image_url", "image_url": "/local.png"}, "invalid_image_url"),
    ({"type": "image_url", "image_url": {"url": "data:text/html;base64,AA=="}}, "unsupported_content_type"),
    ({"type": "input_audio", "input_audio": {}}, "unsupported_content_type"),
    ({"type": "refusal", "refusal": "no"}, "unsupported_content_type"),
    ({"type": "file", "file": {}}, "invalid_content_part"),
]


@pytest.mark.parametrize(("part", "code"), PARTS)
def test_a_bad_part_is_refused_with_the_content_as_param(part: Any, code: str) -> None:
    messages = [USER, {"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
    assert refused(messages=messages) == ("messages[1].content", code)


def text(words: str) -> list[dict[str, Any]]:
    return [{"text": {"text": words}}]


def test_every_role_becomes_its_items_in_order() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{not json"}}
    items = items_of(
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
        {"role": "user", "content": "u", "name": "ann"},
        {"role": "assistant", "content": "a", "tool_calls": [call], "annotations": [], "audio": None},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "3"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "hm"},
    )
    function_call = {
        "function_call": {"call_id": "call_1", "name": "add", "arguments": "{not json", "executor": "EXECUTOR_CLIENT"}
    }
    assert items == [
        {"message": {"role": "ROLE_SYSTEM", "content": text("s")}},
        {"message": {"role": "ROLE_DEVELOPER", "content": text("d")}},
        {"message": {"role": "ROLE_USER", "content": text("u"), "name": "ann"}},
        {"message": {"role": "ROLE_ASSISTANT", "content": text("a")}},
        function_call,
        {"function_call_output": {"call_id": "call_1", "content": text("3")}},
        {"message": {"role": "ROLE_ASSISTANT", "content": [{"refusal": {"text": "no"}}]}},
        {"reasoning": {"content": ["hm"]}},
        function_call,
    ]


def test_images_and_files_are_taken_in_both_spellings() -> None:
    content = [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": "data:image/png;base64,AA=="},
        {"type": "input_image", "image_url": "http://x/z.png", "detail": "high"},
        {"type": "input_text", "text": "t"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
        {"type": "input_file", "file_id": "file-1"},
    ]
    (message,) = parsed(messages=[{"role": "user", "content": content}]).run.input
    assert list(message.message.content) == [
        item_pb2.ContentPart(image=item_pb2.Image(url="https://x/y.png", detail="low")),
        item_pb2.ContentPart(image=item_pb2.Image(url="data:image/png;base64,AA==")),
        item_pb2.ContentPart(image=item_pb2.Image(url="http://x/z.png", detail="high")),
        item_pb2.ContentPart(text=item_pb2.Text(text="t")),
        item_pb2.ContentPart(file=item_pb2.File(data="data:application/pdf;base64,AA==", filename="a.pdf")),
        item_pb2.ContentPart(file=item_pb2.File(file_id="file-1")),
    ]


def test_a_stream_asks_for_every_event_and_an_answer_for_items() -> None:
    assert parsed(stream="true").run.detail == stream_service_pb2.STREAM_DETAIL_FULL
    assert parsed(stream="false").run.detail == stream_service_pb2.STREAM_DETAIL_ITEMS


LEAVING = [
    ({}, RunOptions(), CANCEL),
    ({"store": True}, RunOptions(), CONTINUE),
    ({"conversation_id": "home"}, RunOptions(), CONTINUE),
    ({}, RunOptions(request_id="once"), CONTINUE),
    ({"store": True}, RunOptions(on_disconnect=CANCEL), CANCEL),
    ({}, RunOptions(on_disconnect=CONTINUE), CONTINUE),
]


@pytest.mark.parametrize(("fields", "options", "policy"), LEAVING)
def test_a_client_that_leaves_cancels_a_run_that_nobody_can_come_back_to(
    fields: dict[str, Any], options: RunOptions, policy: stream_service_pb2.DisconnectPolicy.ValueType
) -> None:
    assert parsed(options, **fields).run.on_disconnect == policy


def test_headers_give_conversation_key_and_busy_policy() -> None:
    options = RunOptions("home", "once", busy_policy=run_pb2.BUSY_POLICY_INTERRUPT)
    run = parsed(options).run
    assert (run.spec.conversation_id, run.request_id) == ("home", "once")
    assert run.spec.busy_policy == run_pb2.BUSY_POLICY_INTERRUPT
    assert parsed(options, busy_policy="queue").run.spec.busy_policy == run_pb2.BUSY_POLICY_QUEUE


def test_two_conversations_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        parsed(RunOptions(conversation_id="b"), conversation_id="a")
    assert caught.value.param == "conversation_id"


def test_streamed_or_not_the_same_body_asks_for_the_same_run() -> None:
    whole = parsed(RunOptions(request_id="once"), metadata={"a": "b", "c": "d"}, top_k=4).run
    streamed = parsed(
        RunOptions(request_id="once"),
        metadata={"c": "d", "a": "b"},
        top_k=4,
        stream=True,
        stream_options={"include_usage": True},
    ).run
    assert (whole.spec, list(whole.input)) == (streamed.spec, list(streamed.input))


SYSTEM = {"role": "system", "content": "Be brief."}
DEVELOPER = {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}
ANSWER = {"role": "assistant", "content": "Hello."}


def test_a_turn_of_a_conversation_is_stored_and_brings_its_instructions_beside_it() -> None:
    run = parsed(conversation_id="home", messages=[SYSTEM, DEVELOPER, USER]).run
    assert run.spec.durability == run_pb2.DURABILITY_LOGGED
    assert not run.spec.explicit_history
    assert run.spec.instructions == "Be brief.\n\nBe kind."
    assert [item.message.role for item in run.input] == [item_pb2.ROLE_USER]
    assert not run.spec.affinity_key


def test_the_output_of_a_call_alone_is_a_turn_too() -> None:
    run = parsed(conversation_id="home", messages=[{"role": "tool", "tool_call_id": "c", "content": "4"}]).run
    assert not run.spec.explicit_history


def test_messages_that_hold_an_answer_are_the_whole_conversation() -> None:
    run = parsed(conversation_id="home", messages=[SYSTEM, USER, ANSWER, USER]).run
    assert run.spec.explicit_history
    assert len(run.input) == 4
    assert not run.spec.instructions


def test_without_a_conversation_messages_stay_as_they_are() -> None:
    run = parsed(messages=[SYSTEM, USER, ANSWER, USER]).run
    assert not run.spec.explicit_history
    assert (len(run.input), run.spec.instructions) == (4, "")


def test_a_conversation_that_must_not_be_stored_is_left_to_the_server_to_refuse() -> None:
    run = parsed(conversation_id="home", store=False).run
    assert run.spec.durability == run_pb2.DURABILITY_MEMORY


def test_a_fault_in_a_turn_is_told_at_the_message_it_came_from() -> None:
    call = parsed(conversation_id="home", messages=[SYSTEM, USER])
    assert call.field_to_param("input[0].message.content[0]") == "messages[1].content"
    assert call.field_to_param("request_id") == "Idempotency-Key"


def test_the_affinity_key_stays_over_the_turns_and_differs_between_chats() -> None:
    def key(*messages: dict[str, Any]) -> str:
        return parsed(messages=list(messages)).run.spec.affinity_key

    first = key(SYSTEM, USER)
    assert len(first) == 64
    assert key(SYSTEM, USER, ANSWER, {"role": "user", "content": "more"}) == first
    others = {key(USER), key(DEVELOPER, USER), key(SYSTEM, {"role": "user", "content": "ho"})}
    assert len(others | {first}) == 4


FIELDS = [
    ("spec.agent", "model"),
    ("spec.sampling.temperature", "temperature"),
    ("spec.sampling.max_output_tokens", "max_tokens"),
    ("spec.reasoning.effort", "reasoning_effort"),
    ("spec.tools[1].function.name", "tools[1].function.name"),
    ("spec.tool_choice.functions[0]", "tool_choice"),
    ("spec.metadata", "metadata"),
    ("input", "messages"),
    ("input[0]", "messages[0]"),
    ("input[1].message.content[0].image.url", "messages[1].content"),
    ("input[2].function_call.name", "messages[1].tool_calls[0].function.name"),
    ("input[3].function_call_output.call_id", "messages[2].tool_call_id"),
    ("input[9].message", "messages"),
]


@pytest.mark.parametrize(("field", "param"), FIELDS)
def test_the_servers_fields_are_told_as_the_callers(field: str, param: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    messages = [
        USER,
        {"role": "assistant", "content": "x", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "y"},
    ]
    assert parsed(messages=messages, max_tokens=4).field_to_param(field) == param


NOT_JSON = [
    b"",
    b"{",
    b'{"model":"m","messages":NaN}',
    b'{"model":"m\xff"}',
    b'{"m\xff":1}',
    b'{"model":"\\ud800","messages":[]}',
    b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"model":"m","x":' + b"[" * 100_000,
    b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"[]",
    b'"text"',
    b"null",
]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse(body)
    assert caught.value.status == 400


def test_nul_and_two_thousand_messages_are_no_fault() -> None:
    assert len(parsed(messages=[{"role": "user", "content": "\0"}] * 2000).run.input) == 2000


def test_the_dialect_is_named() -> None:
    assert parsed().run.spec.dialect == "chat_completions"
    assert parsed().run.spec.durability == run_pb2.DURABILITY_MEMORY
