"""Every rule of validation, each with the path of the field at fault."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.errors import InvalidRequest, NotFound
from breezeway_server.services import validation

from tests.support.agents import called, function_tool, returned, said

Spec = run_pb2.RunSpec
Sampling = run_pb2.Sampling
Part = item_pb2.ContentPart
RUN = "0" * 32
MEMORY = run_pb2.DURABILITY_MEMORY


def choice(
    *functions: str, mode: run_pb2.ToolChoiceMode.ValueType = run_pb2.TOOL_CHOICE_MODE_AUTO
) -> run_pb2.ToolChoice:
    return run_pb2.ToolChoice(functions=functions, mode=mode)


def schema(name: str, text: str = "{}") -> run_pb2.ResponseFormat:
    return run_pb2.ResponseFormat(json_schema=run_pb2.JsonSchemaFormat(name=name, schema=text))


RANGES: dict[str, list[Any]] = {
    "temperature": [-0.1, 2.1, math.nan, math.inf],
    "top_p": [-0.1, 1.1, math.nan],
    "presence_penalty": [-2.1, 2.1],
    "frequency_penalty": [-2.1, 2.1],
    "max_output_tokens": [0],
    "n": [0, 129],
    "top_logprobs": [21],
    "stop": [["a", "b", "c", "d", "e"]],
    "logit_bias": [{"1": 101.0}, {"1": -101.0}, {"1": math.nan}],
}
SPECS: Sequence[tuple[Spec, str]] = [
    (Spec(), "spec.agent"),
    (Spec(agent="a", previous_run_id=f"run_{RUN}", conversation_id="c"), "spec.previous_run_id"),
    (Spec(agent="a", conversation_id="../x"), "spec.conversation_id"),
    (Spec(agent="a", conversation_id="x" * 129), "spec.conversation_id"),
    (Spec(agent="a", background=True, durability=MEMORY), "spec.background"),
    (Spec(agent="a", conversation_id="c", durability=MEMORY), "spec.conversation_id"),
    (Spec(agent="a", metadata={str(number): "" for number in range(17)}), "spec.metadata"),
    (Spec(agent="a", metadata={"k" * 65: ""}), "spec.metadata"),
    (Spec(agent="a", metadata={"k": "v" * 513}), "spec.metadata.k"),
    (Spec(agent="a", tools=[function_tool("f"), run_pb2.Tool()]), "spec.tools[1]"),
    (Spec(agent="a", tools=[function_tool("")]), "spec.tools[0].function.name"),
    (Spec(agent="a", tools=[function_tool("a b")]), "spec.tools[0].function.name"),
    (Spec(agent="a", tools=[function_tool("f" * 65)]), "spec.tools[0].function.name"),
    (Spec(agent="a", tools=[function_tool("f\n")]), "spec.tools[0].function.name"),
    (Spec(agent="a", tools=[function_tool("f"), function_tool("f")]), "spec.tools[1].function.name"),
    (Spec(agent="a", tools=[function_tool("f", "nonsense")]), "spec.tools[0].function.parameters"),
    (Spec(agent="a", tools=[function_tool("f", "[]")]), "spec.tools[0].function.parameters"),
    (Spec(agent="a", tools=[function_tool("f", "[" * 100_000)]), "spec.tools[0].function.parameters"),
    (Spec(agent="a", tools=[function_tool("f")], tool_choice=choice("g")), "spec.tool_choice"),
    (Spec(agent="a", tool_choice=choice(mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED)), "spec.tool_choice"),
    (Spec(agent="a", response_format=schema("")), "spec.response_format.json_schema.name"),
    (Spec(agent="a", response_format=schema("a b")), "spec.response_format.json_schema.name"),
    (Spec(agent="a", response_format=schema("n", "1")), "spec.response_format.json_schema.schema"),
    (Spec(agent="a", model_options={"top_k": "nonsense"}), "spec.model_options.top_k"),
    *(
        (Spec(agent="a", sampling=Sampling(**{name: value})), f"spec.sampling.{name}")
        for name, values in RANGES.items()
        for value in values
    ),
]


@pytest.mark.parametrize(("spec", "field"), SPECS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_spec_is_refused_by_field(spec: Spec, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validation.spec(spec)
    assert raised.value.field == field
    assert raised.value.reason == "INVALID_REQUEST"


def test_the_widest_spec_is_taken() -> None:
    spec = Spec(
        agent="a",
        conversation_id="a" + "._-" * 42,
        metadata={f"{number:064}": "v" * 512 for number in range(16)},
        tools=[function_tool("f_-9" * 16, '{"type": "object"}'), function_tool("g")],
        tool_choice=choice("g", mode=run_pb2.TOOL_CHOICE_MODE_REQUIRED),
        response_format=schema("n" * 64),
        model_options={"top_k": "5", "list": "[1]", "null": "null"},
        sampling=Sampling(
            temperature=2,
            top_p=0,
            presence_penalty=-2,
            frequency_penalty=2,
            max_output_tokens=1,
            n=128,
            top_logprobs=20,
            stop=["a", "b", "c", "d"],
            logit_bias={"1": 100, "2": -100},
        ),
    )
    checked = validation.spec(spec)
    assert checked.durability == run_pb2.DURABILITY_LOGGED
    checked.ClearField("durability")
    assert checked == spec


@pytest.mark.parametrize("spelling", ["run_", "resp_", "chatcmpl-"])
def test_ids_become_canonical(spelling: str) -> None:
    assert validation.spec(Spec(agent="a", previous_run_id=spelling + RUN)).previous_run_id == f"run_{RUN}"
    assert validation.run_id(spelling + RUN) == f"run_{RUN}"


def test_an_id_that_cannot_be_is_not_found() -> None:
    with pytest.raises(NotFound) as raised:
        validation.spec(Spec(agent="a", previous_run_id="x"))
    assert raised.value.reason == "PREVIOUS_RUN_NOT_FOUND"
    with pytest.raises(NotFound):
        validation.run_id("x")


def message(*parts: Part, role: item_pb2.Role.ValueType = item_pb2.ROLE_USER) -> item_pb2.Item:
    return item_pb2.Item(message=item_pb2.Message(role=role, content=parts))


def image(**fields: str) -> Part:
    return Part(image=item_pb2.Image(**fields))


def file(**fields: str) -> Part:
    return Part(file=item_pb2.File(**fields))


TEXT = Part(text=item_pb2.Text(text="x"))
KIND, URL, PART, PLAIN = "UNSUPPORTED_CONTENT_TYPE", "INVALID_IMAGE_URL", "INVALID_CONTENT_PART", "INVALID_REQUEST"
ITEMS: Sequence[tuple[item_pb2.Item, str, str]] = [
    (item_pb2.Item(), "", PLAIN),
    (message(TEXT, role=item_pb2.ROLE_UNSPECIFIED), ".message.role", PLAIN),
    (message(TEXT, Part()), ".message.content[1]", KIND),
    (message(image()), ".message.content[0].image", URL),
    (message(image(url="https://example.com/x", file_id="f")), ".message.content[0].image", URL),
    *(
        (message(image(url=url)), ".message.content[0].image.url", URL)
        for url in (
            "ftp://example.com/x",
            "file:///etc/passwd",
            "x.png",
            "https://",
            "http:///x",
            "http://[x",
            "data:image/png",
        )
    ),
    (message(image(url="data:text/html,x")), ".message.content[0].image.url", KIND),
    (message(file()), ".message.content[0].file", PART),
    (message(file(data="x", file_id="f")), ".message.content[0].file", PART),
    (message(file(url="ftp://example.com/x")), ".message.content[0].file.url", PART),
    (called("", "f"), ".function_call.call_id", PLAIN),
    (called("c1", ""), ".function_call.name", PLAIN),
    (returned("", "x"), ".function_call_output.call_id", PLAIN),
    (
        item_pb2.Item(function_call_output=item_pb2.FunctionCallOutput(call_id="c1", content=[Part()])),
        ".function_call_output.content[0]",
        KIND,
    ),
    (item_pb2.Item(item_reference=item_pb2.ItemReference()), ".item_reference.id", PLAIN),
]


@pytest.mark.parametrize(("item", "field", "reason"), ITEMS)
def test_an_item_is_refused_by_field(item: item_pb2.Item, field: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validation.items([said("before"), item], Spec())
    assert (raised.value.field, raised.value.reason) == (f"input[1]{field}", reason)


@pytest.mark.parametrize(
    "item",
    [
        message(),
        message(
            TEXT, image(url="https://example.com/x.png"), image(file_id="f"), image(url="data:image/png;base64,AA")
        ),
        message(file(url="https://example.com/x.pdf"), file(data="AA"), file(file_id="f")),
        message(Part(refusal=item_pb2.Refusal(text="no")), role=item_pb2.ROLE_ASSISTANT),
        called("c1", "f", "not json"),
        returned("c1", ""),
        item_pb2.Item(reasoning=item_pb2.Reasoning(summary=["x"])),
        item_pb2.Item(item_reference=item_pb2.ItemReference(id="msg_x")),
    ],
)
def test_an_item_is_taken(item: item_pb2.Item) -> None:
    validation.items([item], Spec())


def test_input_may_be_empty_only_where_there_is_something_before_it() -> None:
    with pytest.raises(InvalidRequest) as raised:
        validation.items([], Spec())
    assert raised.value.field == "input"
    validation.items([], Spec(previous_run_id="run_x"))
    validation.items([], Spec(conversation_id="c"))


def test_a_request_id_has_its_length() -> None:
    assert validation.request_id("x" * 255) == "x" * 255
    with pytest.raises(InvalidRequest) as raised:
        validation.request_id("x" * 256)
    assert raised.value.field == "request_id"


def test_a_page_has_its_size() -> None:
    assert [validation.page_size(size, 20) for size in (0, 1, 1000)] == [20, 1, 1000]
    for size in (-1, 1001):
        with pytest.raises(InvalidRequest):
            validation.page_size(size, 20)
