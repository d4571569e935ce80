"""The README's examples, run as they stand against a system that runs, and what other documents ask of one."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.patience import PATIENCE
from tests.support.system import System

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+\.py)\n")


class Example(NamedTuple):
    """A fenced block."""

    language: str
    code: str


def _examples(document: Path) -> list[Example]:
    return [Example(*match.groups()) for match in _FENCE.finditer(document.read_text(encoding="utf-8"))]


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = _examples(ROOT / "README.md")
FILES = {
    match[1]: example.code
    for example in EXAMPLES
    if example.language == "python" and (match := _FILE.match(example.code))
}
SCRIPTS = [example for example in EXAMPLES if example.language in {"bash", "python"} and not _FILE.match(example.code)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system that the README's TOML describes, with its files beside it."""
    directory = tmp_path_factory.mktemp("readme")
    for name, code in FILES.items():
        (directory / name).write_text(code, encoding="utf-8")
    (config,) = [example.code for example in EXAMPLES if example.language == "toml"]
    with System.serving(directory, config=config) as system:
        yield system


def _run(system: System, command: list[str]) -> str:
    done = subprocess.run(
        command, env=os.environ, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=system.directory
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", SCRIPTS, ids=lambda example: example.code.split("\n")[0][:60])
def test_an_example_does_what_it_shows(system: System, example: Example) -> None:
    code = example.code.replace("127.0.0.1:8642", f"127.0.0.1:{system.http_port}")
    code = code.replace("127.0.0.1:50051", system.grpc_target)
    assert code != example.code, "the example speaks to the system"
    if example.language == "python":
        output = _run(system, [sys.executable, "-c", code])
    elif code.startswith("grpcurl") and shutil.which("grpcurl") is None:
        output = _as_grpcurl(code)
    else:
        output = _run(system, ["bash", "-euc", code])
    expected = "42" if "6 * 7" in code else "Hello" if "Hello" in code else "breezeway.v1.RunService"
    assert expected in output


def test_examples_of_every_kind_are_there() -> None:
    starts = [example.code.split(maxsplit=1)[0] for example in SCRIPTS]
    assert {"curl", "id=$(curl", "grpcurl", "from"} <= set(starts)
    assert FILES


def test_the_clients_guide_does_what_it_shows(system: System) -> None:
    (example,) = [each for each in _examples(ROOT / "docs" / "guides" / "clients.md") if each.language == "python"]
    code = example.code.replace("127.0.0.1:50051", system.grpc_target)
    assert "42" in _run(system, [sys.executable, "-c", code])


def test_every_curl_of_the_documents_asks_for_something_that_is_there(system: System) -> None:
    endpoints = json.loads(_run(system, ["curl", "-sS", f"{system.url}/v1/capabilities"]))["endpoints"]
    routes = [re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(route))) for route in endpoints]
    asked = [_asked(command) for document in DOCUMENTS for command in _curls(document)]
    assert len(asked) > 30
    assert not [each for each in asked if not any(route.fullmatch(each) for route in routes)]


def _curls(document: Path) -> Iterator[str]:
    """The curl commands of a document that call Breezeway, each in one line."""
    for block in re.findall(r"^```\w*\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for command in re.split(r"^(?=curl )|(?<=\$\()(?=curl )", block, flags=re.MULTILINE):
            if command.startswith("curl ") and "127.0.0.1:8642" in command:
                yield command


def _asked(command: str) -> str:
    """The method and the path of a curl command."""
    url = re.search(r"http://127\.0\.0\.1:8642([^?\s'\"]*)", command)
    method = re.search(r"-X (\w+)", command)
    assert url is not None
    return f"{method[1] if method else 'POST' if ' -d ' in command else 'GET'} {url[1]}"


def test_the_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = {
        target
        for example in EXAMPLES
        if example.language == "console"
        for target in re.findall(r"^make (\w+)", example.code, re.MULTILINE)
    }
    assert shown >= {"run", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in shown)


def _as_grpcurl(command: str) -> str:
    """What grpcurl would print, by the same way: what there is and its types come from the server's reflection."""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    body, rest = "{}", []
    for word in words:
        if word == "-d":
            body = next(words)
        elif word != "-plaintext":
            rest.append(word)
    target, call = rest
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        if call == "list":
            return "\n".join(database.get_services())
        service, name = call.split("/")
        method = DescriptorPool(database).FindServiceByName(service).methods_by_name[name]
        asked = GetMessageClass(method.input_type)
        answers = channel.unary_stream(
            f"/{call}",
            request_serializer=asked.SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(json_format.Parse(body, asked()), timeout=PATIENCE)
        return "\n".join(json.dumps(json_format.MessageToDict(answer)) for answer in answers)
