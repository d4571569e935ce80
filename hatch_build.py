"""Generates the Python stubs of the protos and their comments, at build and at install: they are never committed.

`python hatch_build.py` does the same by hand, which `make protos` uses.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTOS = Path(__file__).parent / "protos"
# Descriptors forget the comments that they came with; whoever describes the API to people reads them here.
COMMENTS = PROTOS / "breezeway/v1/comments.json"
# The form of errors, which is the API's too.
STATUS = "google/rpc/status.proto"


def protoc(*arguments: str) -> None:
    """Run protoc over all protos with `arguments`. Raises CalledProcessError when it does not like them."""
    google_api = find_spec("google.api")
    tools = find_spec("grpc_tools")
    assert google_api is not None, "googleapis-common-protos is a build requirement"
    assert google_api.submodule_search_locations is not None
    assert tools is not None, "grpcio-tools is a build requirement"
    assert tools.origin is not None
    includes = [
        PROTOS,
        Path(next(iter(google_api.submodule_search_locations))).parent.parent,
        Path(tools.origin).parent / "_proto",
    ]
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{path}" for path in includes), *arguments, *sources]
    subprocess.run(command, check=True)


def generate() -> None:
    """Write messages, services and their type stubs beside the protos."""
    # Plugins live beside the interpreter in a virtual environment, and on PATH in an isolated build.
    search = f"{Path(sys.executable).parent}:"
    plugins = []
    for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc"):
        path = shutil.which(name, path=search) or shutil.which(name)
        assert path is not None, f"mypy-protobuf is a build requirement, but {name} was not found"
        plugins.append(f"--plugin={name}={path}")
    out = str(PROTOS)
    protoc(*plugins, *(f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")))


def write_comments() -> None:
    """Write the comment of every service, call, message, field, enum and value beside the protos, by full name."""
    with tempfile.TemporaryDirectory() as directory:
        found = Path(directory) / "descriptors"
        protoc(f"--descriptor_set_out={found}", "--include_source_info", STATUS)
        files = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file
    comments = dict(pair for file in files for pair in comments_of(file))
    COMMENTS.write_text(json.dumps(comments, ensure_ascii=False, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def comments_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield names and comments: a line a paragraph. The name of an enum's value has the enum's before it."""
    for location in file.source_code_info.location:
        # Syntax and package are in no list; what stands over them is about the file.
        if not location.leading_comments or len(location.path) % 2:
            continue
        place: Any = file
        names = [file.package]
        # The path names a list by its field's number, then a place in it, then a list inside of what is there.
        for number, index in zip(location.path[::2], location.path[1::2], strict=True):
            place = getattr(place, place.DESCRIPTOR.fields_by_number[number].name)[index]
            names.append(place.name)
        paragraphs = location.leading_comments.split("\n\n")
        yield ".".join(names), "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


class StubsHook(BuildHookInterface[Any]):
    """Called by hatchling before a wheel or an editable install is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """Generate the stubs; `artifacts` in pyproject.toml picks them up."""
        generate()
        write_comments()


if __name__ == "__main__":
    generate()
    write_comments()
