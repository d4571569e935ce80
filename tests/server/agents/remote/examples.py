"""The example agents as processes, built where that is needed; what is built lies under build/ and is kept."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[4]
_EXAMPLES = _ROOT / "examples" / "agents"
_BUILD = _ROOT / "build" / "agents"
LANGUAGES = ("python", "node", "go")


def command(language: str) -> list[str]:
    """How the example in that language is run, but for its address. Skips the test where the language is not there."""
    match language:
        case "python":
            return [sys.executable, str(_EXAMPLES / "python" / "agent.py")]
        case "node":
            return ["node", str(_build_node() / "agent.js")]
        case "go":
            return [str(_build_go() / "agent")]
        case _:
            raise AssertionError(f"there is no example in {language}")


@contextmanager
def example(language: str, address: str = "127.0.0.1:0") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The example agent, listening: its address and its process, for the length of the block."""
    environ = {**os.environ, "PROTOS": str(_ROOT / "protos")}
    with subprocess.Popen(
        [*command(language), address], env=environ, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"listening on (127\.0\.0\.1:\d+)\n", line)
            assert match, f"the {language} agent said {line!r}"
            yield match[1], process
        finally:
            process.kill()


def _build_node() -> Path:
    _need("node", "npm")
    out = _BUILD / "node"
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(_EXAMPLES / "node" / "agent.js", out)
    wanted, installed = _EXAMPLES / "node" / "package.json", out / "installed.json"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        shutil.copy(wanted, out)
        _run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"], out, {})
        shutil.copy(wanted, installed)
    return out


def _build_go() -> Path:
    _need("go")
    out = _BUILD / "go"
    environ = {"PROTOC": f"{sys.executable} -m grpc_tools.protoc", "CGO_ENABLED": "0"}
    _run([str(_EXAMPLES / "go" / "build.sh"), str(out)], _ROOT, environ)
    return out


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _run(arguments: list[str], directory: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        arguments, cwd=directory, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments[0]} failed:\n{done.stdout}{done.stderr}"
