"""Python functions as tools."""

import json
from collections.abc import Iterator

import pytest
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.llm.tools import Toolbox

HERE = "tests.server.agents.functions"
NAMES = ("add", "weather", "far", "breaks", "complains", "long_text")


@pytest.fixture
def toolbox() -> Iterator[Toolbox]:
    box = Toolbox.load([f"{HERE}:{name}" for name in NAMES], key="agents.x.tools", max_output=100)
    yield box
    box.close()


def test_the_schema_comes_from_the_signature(toolbox: Toolbox) -> None:
    add, weather, far, *_ = toolbox.tools
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
        ("nothing", "{}", 'There is no tool named "nothing".', True),
    ],
)
async def test_a_call_gives_text_and_whether_it_is_an_error(
    toolbox: Toolbox, name: str, arguments: str, text: str, is_error: bool
) -> None:
    assert await toolbox.call(name, arguments) == (text, is_error)


@pytest.mark.parametrize("arguments", ['{"a": "1"}', '{"b": 1}', '{"a": 1, "c": 2}', "nonsense", "[]", '{"a": 1.5}'])
async def test_arguments_that_do_not_fit_are_the_models_error(toolbox: Toolbox, arguments: str) -> None:
    text, is_error = await toolbox.call("add", arguments)
    assert is_error
    assert text.startswith("The arguments do not fit: ")


async def test_what_a_tool_says_is_bounded(toolbox: Toolbox) -> None:
    text, _ = await toolbox.call("long_text", "{}")
    assert text == "x" * 100 + "\n[cut: 1000 characters in all]"


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
        Toolbox.load([path], key="agents.x.tools", max_output=100)
    assert words in str(caught.value)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tools\[1\]: another tool is named"):
        Toolbox.load([f"{HERE}:add", f"{HERE}:add"], key="agents.x.tools", max_output=100)
