import json
from typing import Any

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_shim.dialects.headers import RunOptions
from breezeway_shim.dialects.responses import request as responses_request
from breezeway_shim.dialects.responses.request import ResponseCall, parse
from breezeway_shim.dialects.responses.schema import ResponseRequest
from breezeway_shim.errors import RequestError
from openai.types.responses import response_create_params

TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}}


def parsed(**fields: Any) -> ResponseCall:
    return parse(json.dumps({"model": "assistant", "input": "hi"} | fields).encode())


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as raised:
        parsed(**fields)
    return raised.value


def text(item: item_pb2.Item) -> str:
    return "".join(part.text.text for part in item.message.content)


def test_a_string_is_one_message_of_the_user() -> None:
    (item,) = parsed().input
    assert item.message.role == item_pb2.ROLE_USER
    assert text(item) == "hi"


def test_messages_need_no_type_and_may_have_any_role() -> None:
    roles = ["user", "assistant", "system", "developer"]
    items = parsed(input=[{"role": role, "content": role} for role in roles]).input
    assert [item.message.role for item in items] == [
        item_pb2.ROLE_USER,
        item_pb2.ROLE_ASSISTANT,
        item_pb2.ROLE_SYSTEM,
        item_pb2.ROLE_DEVELOPER,
    ]
    assert [text(item) for item in items] == roles


def test_a_message_keeps_every_part() -> None:
    content = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "high"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
    ]
    (item,) = parsed(input=[{"type": "message", "role": "user", "content": content}]).input
    words, image, file = item.message.content
    assert words.text.text == "Look:"
    assert (image.image.url, image.image.detail) == ("data:image/png;base64,AA==", "high")
    assert (file.file.filename, file.file.data) == ("a.pdf", "data:application/pdf;base64,AA==")


def test_the_output_of_a_response_is_taken_as_input() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Sum"}],
         "content": [{"type": "reasoning_text", "text": "Thought"}], "encrypted_content": "sealed"},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
         "content": [{"type": "output_text", "text": "Hi", "annotations": []}, {"type": "refusal", "refusal": "No"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": "{not json"},
        {"type": "function_call_output", "call_id": "call_1", "output": "5"},
    ]  # fmt: skip
    thought, said, call, result = parsed(input=output).input
    assert list(thought.reasoning.summary) == ["Sum"]
    assert list(thought.reasoning.content) == ["Thought"]
    assert thought.reasoning.encrypted_content == "sealed"
    assert [part.WhichOneof("kind") for part in said.message.content] == ["text", "refusal"]
    assert call.function_call.arguments == "{not json"
    assert result.function_call_output.content[0].text.text == "5"


def test_a_calls_output_may_be_a_list_of_parts() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    (item,) = parsed(input=[{"type": "function_call_output", "call_id": "c", "output": parts}]).input
    assert [part.text.text for part in item.function_call_output.content] == ["a", "b"]


@pytest.mark.parametrize("reference", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}])
def test_a_reference_stands_for_an_earlier_item(reference: dict[str, str]) -> None:
    (item,) = parsed(input=[reference]).input
    assert item.item_reference.id == "msg_1"


@pytest.mark.parametrize(
    ("approve", "decision"), [(True, item_pb2.APPROVAL_DECISION_ONCE), (False, item_pb2.APPROVAL_DECISION_DENY)]
)
def test_a_decision_in_the_history_is_carried_as_an_item(
    approve: bool, decision: item_pb2.ApprovalDecision.ValueType
) -> None:
    answer = {"type": "mcp_approval_response", "approval_request_id": "apr_1", "approve": approve, "reason": "why"}
    item, _ = parsed(conversation_history=[answer]).input
    assert item.approval_response == item_pb2.ApprovalResponse(
        approval_request_id="apr_1", decision=decision, reason="why"
    )


def test_history_that_the_caller_gives_comes_first_and_wins_over_the_chain() -> None:
    call = parsed(conversation_history=[{"role": "user", "content": "before"}], previous_response_id="resp_" + "0" * 32)
    assert [text(item) for item in call.input] == ["before", "hi"]
    assert call.spec.previous_run_id == ""


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_is_an_id_or_an_object(conversation: object) -> None:
    assert parsed(conversation=conversation).spec.conversation_id == "conv_1"


def test_a_header_may_name_the_conversation() -> None:
    body = b'{"model":"assistant","input":"hi","conversation":null}'
    assert parse(body, RunOptions(conversation_id="by-header")).spec.conversation_id == "by-header"


def test_two_names_of_a_conversation_must_agree() -> None:
    body = b'{"model":"assistant","input":"hi","conversation":"in-body"}'
    assert parse(body, RunOptions(conversation_id="in-body")).spec.conversation_id == "in-body"
    with pytest.raises(RequestError) as raised:
        parse(body, RunOptions(conversation_id="by-header"))
    assert raised.value.param == "conversation"


def test_responses_are_stored_unless_asked_otherwise() -> None:
    assert parsed().spec.durability == run_pb2.DURABILITY_LOGGED
    assert parsed(store=None).spec.durability == run_pb2.DURABILITY_LOGGED
    assert parsed(store="false").spec.durability == run_pb2.DURABILITY_MEMORY


def test_log_probabilities_are_asked_for_by_include() -> None:
    spec = parsed(include=["message.output_text.logprobs"], top_logprobs=3).spec
    assert spec.sampling.logprobs
    assert spec.sampling.top_logprobs == 3


def test_what_is_not_known_is_passed_on_as_it_is() -> None:
    spec = parsed(prompt_cache_retention="24h", seed=12345678901234567890, unset=None).spec
    assert dict(spec.model_options) == {"prompt_cache_retention": '"24h"', "seed": "12345678901234567890"}


def test_null_stands_for_absent_in_every_optional_parameter() -> None:
    optional = set(ResponseRequest.__struct_fields__) - {"model", "input"}
    assert parsed(**dict.fromkeys(optional)).spec == parsed().spec


def test_schemas_travel_byte_for_byte() -> None:
    body = b'{"model":"a","input":"hi","tools":[{"type":"function","name":"f","parameters":{"z":1.0,  "a":1e400}}]}'
    assert parse(body).spec.tools[0].function.parameters == '{"z":1.0,  "a":1e400}'


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": [{"role": "robot", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"type": "message", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"type": "function_call_output", "output": "5"}]}, "input[0].call_id"),
        ({"input": [{"type": "reasoning", "summary": [], "content": "no"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": 5}, "input"),
        ({"conversation": {}}, "conversation.id"),
        ({"conversation": ""}, "conversation"),
        ({"conversation": "c", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c", "conversation_history": [{"role": "user", "content": "x"}]}, "conversation_history"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1].type"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"include": ["reasoning.encrypted_content", "everything"]}, "include[1]"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"truncation": "some"}, "truncation"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": []}, "context_management"),
        ({"background_options": {"completion_window": "8h"}}, "background_options.completion_window"),
        ({"background_options": {"haste": 1}}, "background_options.haste"),
        ({"reasoning": {"budget": 5}}, "reasoning.budget"),
        ({"text": {"format": {"type": "text", "colour": "red"}}}, "text.format.colour"),
        ({"tools": [TOOL, {**TOOL, "defer_loading": True}]}, "tools[1].defer_loading"),
        ({"reasoning": {"context": "auto"}}, "reasoning.context"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"background": True, "store": False}, "store"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ("spec.agent", "model"),
        ("spec.previous_run_id", "previous_response_id"),
        ("spec.conversation_id", "conversation"),
        ("spec.sampling.temperature", "temperature"),
        ("spec.response_format.json_schema.name", "text.format.name"),
        ("spec.tools[1].function.name", "tools[1].name"),
        ("spec.tool_choice", "tool_choice"),
        ("spec.verbosity", "text.verbosity"),
        ("spec.metadata.team", "metadata.team"),
        ("spec.model_options.seed", "seed"),
        ("input", "input"),
        ("input[0].message.content[1].image.url", "conversation_history[0].content[1].image.url"),
        ("input[2].function_call_output.content", "input[1].output"),
        ("input[1].function_call.call_id", "input[0].call_id"),
        ("input[3]", "input[2]"),
    ],
)
def test_the_servers_names_are_told_in_the_callers_words(field: str, param: str) -> None:
    history = [{"role": "user", "content": "before"}]
    call = parsed(conversation_history=history, input=[{"role": "user", "content": "x"}] * 3)
    assert call.field_to_param(field) == param


def test_a_fault_of_a_string_is_a_fault_of_the_input() -> None:
    assert parsed().field_to_param("input[0].message.content[0].text") == "input"


def test_the_table_names_every_parameter_that_openai_documents() -> None:
    table = responses_request.__doc__ or ""
    documented = set(response_create_params.ResponseCreateParamsBase.__annotations__) | {"stream"}
    passed_on = {"access_programs", "image", "moderation", "prompt_cache_options"}
    named = {name for name in documented if f"`{name}`" in table or f"`{name}." in table}
    assert documented - named == passed_on
