"""docs/guarantees.md: the tests and the settings that it names are there."""

import ast
import re
from pathlib import Path

import pytest
from breezeway_server.config import ServerSettings
from breezeway_shim.config import ShimSettings

_TESTS = Path(__file__).parent
_TEXT = (_TESTS.parent / "docs" / "guarantees.md").read_text(encoding="utf-8")
_NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", _TEXT)


def test_each_of_the_ten_promises_names_a_test() -> None:
    promises = re.split(r"^### (\d+)\. ", _TEXT.partition("## In public")[0], flags=re.MULTILINE)[1:]
    assert promises[::2] == [str(number) for number in range(1, 11)]
    assert all("::test_" in promise for promise in promises[1::2])


@pytest.mark.parametrize(("path", "name"), _NAMED)
def test_a_test_that_is_named_is_there(path: str, name: str) -> None:
    tree = ast.parse((_TESTS / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_a_setting_that_is_named_is_one() -> None:
    settings = {f"BREEZEWAY_{name.upper()}" for name in (*ServerSettings.model_fields, *ShimSettings.model_fields)}
    assert set(re.findall(r"BREEZEWAY_[A-Z_]+", _TEXT)) <= settings
