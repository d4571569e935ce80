"""Clients written in JavaScript, run by Node; their packages are installed once, below `build`."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.building import alone_in, copy_changed

_SOURCES = Path(__file__).parents[1] / "node"
_INSTALLED = Path(__file__).parents[3] / "build" / "node"


class Node:
    """Runs the scenarios of `tests/e2e/node`, one after the other in one process."""

    def __init__(self, base_url: str) -> None:
        self._process = subprocess.Popen(
            ["node", "--no-warnings", str(_INSTALLED / "host.mjs")],
            env={**os.environ, "BASE_URL": base_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    async def run(self, module: str, scenario: str, *parameters: str) -> Any:
        """What a scenario returns. What it throws is an assertion that failed."""
        line = json.dumps({"module": module, "scenario": scenario, "parameters": parameters})
        # In a thread, because the model server runs on the test's loop.
        answer = json.loads(await asyncio.to_thread(self._ask, line))
        assert "error" not in answer, answer["error"]
        return answer.get("result")

    def close(self) -> None:
        """End the process, and whoever waits for an answer of it."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def install() -> None:
    """Have the packages and the scripts below `build`. Skips the test where Node is not there, or has no packages."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    wanted = (_SOURCES / "package.json").read_text(encoding="utf-8")
    stamp = _INSTALLED / ".installed"
    with alone_in(_INSTALLED):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            shutil.copy(_SOURCES / "package.json", _INSTALLED)
            # No lock file: it would record the addresses from which the packages happened to come.
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=_INSTALLED, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                assert not os.environ.get("CI"), done.stderr
                pytest.skip(f"npm cannot install the packages: {done.stderr.strip()[-300:]}")
            stamp.write_text(wanted, encoding="utf-8")
        for script in _SOURCES.glob("*.mjs"):
            copy_changed(script, _INSTALLED / script.name)
