"""Generates the Python stubs of the protos, at build and at install: they are never committed.

`python hatch_build.py` does the same by hand, which `make protos` uses.
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTOS = Path(__file__).parent / "protos"


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


class StubsHook(BuildHookInterface[Any]):
    """Called by hatchling before a wheel or an editable install is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """Generate the stubs; `artifacts` in pyproject.toml picks them up."""
        generate()


if __name__ == "__main__":
    generate()
