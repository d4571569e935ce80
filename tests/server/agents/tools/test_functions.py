"""Python functions as tools, and what bounds every result."""

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from breezeway.v1 import item_pb2
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.tools.base import Tool, ToolResult, bounded, text_result
from breezeway_server.agents.tools.toolbox import Toolbox

HERE = "tests.server.agents.functions"
NAMES = ("add", "weather", "far", "breaks", "complains", "long_text")


def _box(*paths: str) -> Toolbox:
    return Toolbox([(path, False) for path in paths], key="agents.x.tools", max_output=100)


@pytest.fixture
async def tools() -> AsyncIterator[Mapping[str, Tool]]:
    box = _box(*(f"{HERE}:{name}" for name in NAMES))
    yield await box.tools()
    box.close()


def _ignore(line: str) -> None:
    pass


def test_the_schema_comes_from_the_signature(tools: Mapping[str, Tool]) -> None:
    add, weather, far, *_ = tools.values()
    assert add.description == "Adds two numbers."
    assert json.loads(add.parameters) == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}},
        "required": ["a"],
        "additionalProperties": False,
    }
    schema = json.loads(weather.parameters)
    assert schema["properties"]["unit"] == {"enum": ["C", "F"], "default": "C"}
    assert schema["properties"]["place"] == {"$ref": "#/$defs/Place"}
    assert schema["$defs"]["Place"]["required"] == ["city"]
    assert json.loads(far.parameters)["$defs"]["Point"]["properties"]["y"]["default"] == 0


@pytest.mark.parametrize(
    ("name", "arguments", "text", "is_error"),
    [
        ("add", '{"a": 1}', "3", False),
        ("add", '{"a": 1, "b": 5}', "6", False),
        ("weather", '{"place": {"city": "Rome"}, "days": [1, 2]}', "20 C in Rome for 2 days", False),
        ("far", '{"point": {"x": 3}}', '{"distance":3}', False),
        ("complains", "", "No such city.", True),
        ("breaks", "{}", "The tool failed (RuntimeError).", True),
    ],
)
async def test_a_call_gives_text_and_whether_it_is_an_error(
    tools: Mapping[str, Tool], name: str, arguments: str, text: str, is_error: bool
) -> None:
    assert await tools[name].call(arguments, _ignore) == text_result(text, is_error=is_error)


@pytest.mark.parametrize("arguments", ['{"a": "1"}', '{"b": 1}', '{"a": 1, "c": 2}', "nonsense", "[]", '{"a": 1.5}'])
async def test_arguments_that_do_not_fit_are_the_models_error(tools: Mapping[str, Tool], arguments: str) -> None:
    result = await tools["add"].call(arguments, _ignore)
    assert result.is_error
    assert result.content[0].text.text.startswith("The arguments do not fit: ")


def test_what_a_tool_says_is_bounded_in_all_its_parts() -> None:
    picture = item_pb2.ContentPart(image=item_pb2.Image(url="data:image/png;base64,AA"))
    long, short = (text_result(text).content[0] for text in ("x" * 90, "y" * 20))
    assert bounded(ToolResult((short, picture, long)), 100).content == (
        short,
        picture,
        text_result("x" * 80 + "\n[cut: 110 characters in all]").content[0],
    )
    assert (
        bounded(ToolResult((long, short, short)), 90).content
        == text_result("x" * 90 + "\n[cut: 130 characters in all]").content
    )
    whole = ToolResult((short, long), is_error=True)
    assert bounded(whole, 110) is whole


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nonsense", "is no import path"),
        ("no.such.module:f", "importing no.such.module failed"),
        (f"{HERE}:no_such", 'has no "no_such"'),
        (f"{HERE}:not_a_function", "is not a function"),
        (f"{HERE}:takes_anything", "has no JSON Schema"),
    ],
)
def test_a_tool_that_cannot_be_is_named_at_the_start(path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^agents\.x\.tools\[0\]: ") as caught:
        _box(path)
    assert words in str(caught.value)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tools\[1\]: another tool is named"):
        _box(f"{HERE}:add", f"{HERE}:add")
