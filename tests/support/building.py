"""Building the examples in other languages; what is built lies under build/ and is kept."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
_BUILD = ROOT / "build"


def googleapis() -> Path:
    """The folder that holds google/api and google/rpc."""
    found = find_spec("google.api")
    assert found is not None
    assert found.submodule_search_locations is not None
    return Path(next(iter(found.submodule_search_locations))).parent.parent


def build_node(kind: str, script: str) -> Path:
    """The folder in which the script of `examples/KIND/node` can be run. Skips the test where there is no Node."""
    _need("node", "npm")
    source, out = EXAMPLES / kind / "node", _BUILD / kind / "node"
    with alone_in(out):
        copy_changed(source / script, out / script)
        wanted, installed = source / "package.json", out / "installed.json"
        if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
            shutil.copy(wanted, out)
            _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"], out, {})
            shutil.copy(wanted, installed)
    return out


def build_go(kind: str) -> Path:
    """The folder with the program of `examples/KIND/go`. Skips the test where there is no Go."""
    _need("go")
    out = _BUILD / kind / "go"
    environ = {
        "PROTOC": f"{sys.executable} -m grpc_tools.protoc",
        "GOOGLEAPIS": str(googleapis()),
        "CGO_ENABLED": "0",
    }
    with alone_in(out):
        _run([str(EXAMPLES / kind / "go" / "build.sh"), str(out)], ROOT, environ)
    return out


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep all other processes of the tests from building there for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_changed(source: Path, target: Path) -> None:
    """Copy a file that says something else: one that says the same may just be read by another process."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copy(source, target)


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _run(arguments: list[str], directory: Path, environ: Mapping[str, str]) -> None:
    done = subprocess.run(
        arguments, cwd=directory, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments[0]} failed:\n{done.stdout}{done.stderr}"
