"""Codex itself with the configuration of the guide: it has a file read by its shell tool and answers."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.guides.blocks import ROOT, only
from tests.support.environ import clean_environ
from tests.support.model_server import DONE, ModelServer, Stream, answer, call, finish, reasoning, text
from tests.support.system import System

_SOURCE = Path(__file__).parent / "node" / "package.json"
_INSTALLED = ROOT / "build" / "codex"


def _codex() -> Path:
    """The program. Skips the test where there is no Node, or no package to be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    program = _INSTALLED / "node_modules" / ".bin" / "codex"
    wanted = _INSTALLED / "package.json"
    if not program.exists() or wanted.read_bytes() != _SOURCE.read_bytes():
        _INSTALLED.mkdir(parents=True, exist_ok=True)
        shutil.copy(_SOURCE, wanted)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=_INSTALLED, capture_output=True, text=True, check=False, timeout=270)
        if done.returncode != 0:
            assert not os.environ.get("CI"), done.stderr
            pytest.skip(f"npm cannot install the package: {done.stderr.strip()[-300:]}")
    return program


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with ModelServer.serving() as server:
        yield server


@pytest.mark.timeout(300)
async def test_codex_works_with_the_configuration_of_the_guide(tmp_path: Path, model: ModelServer) -> None:
    program = await asyncio.to_thread(_codex)
    home, work = tmp_path / "codex", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (work / "a.txt").write_text("hello from a file\n", encoding="utf-8")
    look = call("exec_command", {"cmd": "cat a.txt"}, call_id="call_a")
    model.enqueue(
        Stream([*reasoning("First look."), *text("Let me see."), *look, finish("tool_calls"), DONE]),
        answer("It says ", "hello."),
    )
    environ = {"OPENAI_BASE_URL": model.base_url, "BREEZEWAY_MODEL": "scripted"}
    system = System(tmp_path, environ=environ)
    config = only("codex-cli", "toml")
    here = config.replace("http://127.0.0.1:8642", system.url)
    assert here != config
    (home / "config.toml").write_text(here, encoding="utf-8")
    try:
        await asyncio.to_thread(system.start)
        process = await asyncio.create_subprocess_exec(
            *(
                program,
                "exec",
                "--json",
                "--skip-git-repo-check",
                "--sandbox",
                "danger-full-access",
                "What is in a.txt?",
            ),
            cwd=work,
            env={**clean_environ(), "CODEX_HOME": str(home), "BREEZEWAY_API_KEY": "unused"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, complaints = await process.communicate()
    finally:
        await asyncio.to_thread(system.close)
    assert process.returncode == 0, printed.decode() + complaints.decode()
    events = [json.loads(line) for line in printed.splitlines()]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    assert [item["text"] for item in items if item["type"] == "agent_message"] == ["Let me see.", "It says hello."]
    (ran,) = [item for item in items if item["type"] == "command_execution"]
    assert (ran["aggregated_output"], ran["exit_code"]) == ("hello from a file\n", 0)
    assert "hello from a file" in model.requests[1].messages[-1]["content"]
