"""The documents against the code: settings, reasons of errors and links are all there, and true."""

import ast
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import breezeway_server.errors
import click
import grpc
import pytest
from breezeway.v1 import run_pb2
from breezeway_server.agents.config import DEFAULT_MODEL, OPENAI_BASE_URL
from breezeway_server.cli import main
from breezeway_server.config import ServerSettings
from breezeway_server.errors import BreezewayError
from breezeway_shim.config import ShimSettings
from breezeway_shim.errors import REASONS, run_failed
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ERRORS = ROOT / "docs" / "errors.md"
DOCUMENTS = [
    README,
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("bench/README.md", "deploy/README.md", "CHANGELOG.md")),
]
SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for folder in ("server/breezeway_server", "shim/breezeway_shim")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

# Read by name and not by a class of settings, with their defaults.
NAMED = {
    "BREEZEWAY_CONFIG": "",
    "BREEZEWAY_API_KEY": "",
    "BREEZEWAY_MODEL": DEFAULT_MODEL,
    "OPENAI_API_KEY": "",
    "OPENAI_BASE_URL": OPENAI_BASE_URL,
}

# A file, a folder with a slash behind it, or whatever is below one of the project's own.
_PATH = r"`((?:[\w*-]+/)*[\w*-]+\.(?:py|proto|md)|(?:[\w*-]+/)+|(?:protos|server|shim|tests|docs|deploy)(?:/[\w.-]+)+)`"
_REASON = re.compile(r"[A-Z]+(?:_[A-Z]+)+")
_MEBIBYTE = 1024 * 1024


def _rows(document: Path, first: str) -> Mapping[str, list[str]]:
    """The rows of all tables whose first cell is a code span that `first` matches whole, by that cell."""
    rows = {}
    for line in document.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = cells[0].strip("`")
        if line.startswith("| `") and re.fullmatch(first, name):
            rows[name] = cells
    return rows


def _shown(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "`~/.local/share/breezeway`"
    default = field.default
    if default is None:
        return ""
    if isinstance(default, int) and default and default % _MEBIBYTE == 0:
        return f"`{default}` ({default // _MEBIBYTE} MiB)"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_setting_is_in_the_readme_with_its_default_and_meaning() -> None:
    expected = {
        f"BREEZEWAY_{name.upper()}": [f"`BREEZEWAY_{name.upper()}`", _shown(field), field.description or ""]
        for settings in (ServerSettings, ShimSettings)
        for name, field in settings.model_fields.items()
    }
    rows = _rows(README, "(?:BREEZEWAY|OPENAI)_[A-Z_]+")
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in expected.values())
    assert {name: cells for name, cells in rows.items() if name not in NAMED} == expected, f"it should be:\n{table}"


def test_settings_that_are_read_by_name_are_in_the_readme() -> None:
    rows = _rows(README, "(?:BREEZEWAY|OPENAI)_[A-Z_]+")
    assert {name: rows[name][1].strip("`") for name in NAMED} == NAMED


def test_no_variable_is_read_that_the_readme_does_not_name() -> None:
    named = set(_rows(README, "(?:BREEZEWAY|OPENAI)_[A-Z_]+"))
    read = {
        node.value
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(?:BREEZEWAY|OPENAI)_[A-Z_]+[A-Z]", node.value)
    }
    assert read <= named


class Raised(NamedTuple):
    """A reason as the code raises it."""

    reason: str
    codes: frozenset[str]


def _raised() -> Mapping[str, frozenset[str]]:
    """Every reason that the server's code has, with the gRPC codes that it comes with."""
    codes: dict[str, set[str]] = defaultdict(set)
    for path, tree in SOURCES.items():
        if "breezeway_server" in path.parts:
            for raised in _raised_in(tree):
                codes[raised.reason] |= raised.codes
    return {reason: frozenset(of_reason) for reason, of_reason in codes.items()}


def _raised_in(tree: ast.Module) -> Iterator[Raised]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if codes := _codes_of(name):
                keywords = [key.value for key in node.keywords if key.arg == "reason"]
                yield from _reasons([*node.args[:1], *keywords], codes)
            elif name in {"run_error", "failure"}:
                yield from _reasons(node.args[:1], _codes_in(node))
        elif isinstance(node, ast.ClassDef) and (codes := _codes_of(node.name)):
            # An error of one reason says it itself: to its base class, or as the default of an argument.
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                    yield from _reasons(inner.args[:1], codes)
                elif isinstance(inner, ast.arguments):
                    yield from _reasons([default for default in inner.kw_defaults if default is not None], codes)


def _codes_of(name: str) -> frozenset[str]:
    """The code of the domain's error of that name; empty where there is none."""
    kind = getattr(breezeway_server.errors, name, None)
    if isinstance(kind, type) and issubclass(kind, BreezewayError) and kind is not BreezewayError:
        return frozenset({kind.code.name})
    return frozenset()


def _reasons(nodes: list[ast.expr], codes: frozenset[str]) -> Iterator[Raised]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _REASON.fullmatch(node.value):
            yield Raised(node.value, codes)


def _codes_in(call: ast.Call) -> frozenset[str]:
    return frozenset(
        node.attr
        for node in ast.walk(call)
        if isinstance(node, ast.Attribute) and node.attr.isupper() and hasattr(grpc.StatusCode, node.attr)
    )


RAISED = _raised()


def test_every_reason_is_documented_and_none_besides() -> None:
    documented = set(_rows(ERRORS, _REASON.pattern))
    assert documented == set(RAISED) | set(REASONS)


@pytest.mark.parametrize("reason", sorted(set(RAISED) | set(REASONS)))
def test_a_reason_is_what_the_table_says(reason: str) -> None:
    _, codes, status, code, meaning, advice = _rows(ERRORS, reason)[reason]
    written = set(re.findall(r"[A-Z_]{5,}", codes))
    assert written >= RAISED.get(reason, frozenset())
    assert meaning
    assert advice
    for name in written:
        error = run_pb2.RunError(reason=reason, code=grpc.StatusCode[name].value[0])
        answer = run_failed(error)
        assert (str(answer.status), f"`{answer.code}`" if answer.code else "") == (status, code)


def test_every_code_of_the_shim_is_documented() -> None:
    said = {
        node.value
        for path, tree in SOURCES.items()
        if "breezeway_shim" in path.parts
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in {"ApiError", "RequestError"}
        for node in [*call.args[2:3], *(keyword.value for keyword in call.keywords if keyword.arg == "code")]
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(said) > 10
    assert said <= set(re.findall(r"`([a-z_]+)`", ERRORS.read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)[^)]*\)", text):
        if not re.match(r"[a-z]+:", target):
            there = document.parent / target if target else document
            assert there.exists(), f"{document.name} links to {target}, which is not there"
            assert not anchor or anchor in _anchors(there), (
                f"{document.name} links to {target}#{anchor}, which is not there"
            )


def _anchors(document: Path) -> set[str]:
    """What the headings of a document can be linked by, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_are_there(document: Path) -> None:
    parts = [
        ROOT,
        ROOT / "server" / "breezeway_server",
        ROOT / "shim" / "breezeway_shim",
        ROOT / "protos",
        ROOT / "tests",
    ]
    parts += [document.parent, ROOT / "protos" / "breezeway" / "v1", ROOT / "examples" / "tools"]
    for path in re.findall(_PATH, document.read_text(encoding="utf-8")):
        if not path.startswith("google/"):
            assert any(any(part.glob(path)) for part in parts), f"{document.name} names {path}, which is not there"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_are_shown_are_there(document: Path) -> None:
    for block in re.findall(r"^```\w*\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in re.findall(r"^breezeway .+$", block, re.MULTILINE):
            command: click.Command = main
            for word in shlex.split(line, comments=True)[1:]:
                if isinstance(command, click.Group):
                    assert word in command.commands, f"{document.name}: {line}"
                    command = command.commands[word]
                elif word.startswith("-"):
                    options = {option for parameter in command.params for option in parameter.opts}
                    assert word in options, f"{document.name}: {line}"


def test_the_readme_promises_what_the_guarantees_do() -> None:
    words = re.sub(r"\s+", " ", README.read_text(encoding="utf-8"))
    guarantees = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    promises = re.findall(r"^### (\d+)\. (.+)\n\n((?:> .+\n)+)", guarantees, re.MULTILINE)
    assert len(promises) == 10
    for number, name, quoted in promises:
        said = " ".join(quoted.replace("> ", "").split())
        assert f"{number}. **{name}.** {said}" in words


def test_the_changelog_says_nothing_twice() -> None:
    lines = re.findall(r"^- (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == len({line.partition(":")[0] for line in lines})
