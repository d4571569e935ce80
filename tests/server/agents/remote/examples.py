"""The example agents as processes, built where that is needed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.building import EXAMPLES, ROOT, build_go, build_node

LANGUAGES = ("python", "node", "go")


def command(language: str) -> list[str]:
    """How the example in that language is run, but for its address. Skips the test where the language is not there."""
    match language:
        case "python":
            return [sys.executable, str(EXAMPLES / "agents" / "python" / "agent.py")]
        case "node":
            return ["node", str(build_node("agents", "agent.js") / "agent.js")]
        case "go":
            return [str(build_go("agents") / "agent")]
        case _:
            raise AssertionError(f"there is no example in {language}")


@contextmanager
def example(language: str, address: str = "127.0.0.1:0") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The example agent, listening: its address and its process, for the length of the block."""
    environ = {**os.environ, "PROTOS": str(ROOT / "protos")}
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
