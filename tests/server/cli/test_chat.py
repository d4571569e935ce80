"""`breezeway chat`, piped and in a terminal, with a real system behind it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.cli.commands import Terminal, piped
from tests.support.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("chat")
    (directory / "said.py").write_text(
        'async def evil(context):\n    yield "\\x1b[2Jclean\\x07"\n\n\n'
        'async def turns(context):\n    yield f"turn {len(context.history) // 2 + 1}"\n',
        encoding="utf-8",
    )
    config = "".join(f'[agents.{name}]\nkind = "python"\npath = "said:{name}"\n' for name in ("evil", "turns"))
    with System.serving(directory, config=config) as system:
        yield system


def _piped(system: System, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return piped(system.environ, "chat", *arguments, text=text)


def test_each_line_is_a_question(system: System) -> None:
    chat = _piped(system, "What is 6 * 7?\n\nWhat is 2 + 3?\n")
    assert chat.returncode == 0, chat.stderr
    answers = chat.stdout.splitlines()
    assert len(answers) == 2
    assert "42" in answers[0]
    assert "5" in answers[1]


def test_tools_thoughts_and_usage_stand_beside_the_answer(system: System) -> None:
    chat = _piped(system, "think, then: what is 6 * 7?\n", "--agent", "demo")
    assert '→ calculator({"expression":"6 * 7"})' in chat.stderr
    assert "← 42" in chat.stderr
    assert "no model is asked" in chat.stderr
    assert re.search(r"\[\d+ tokens in, \d+ out\]", chat.stderr)
    assert "calculator(" not in chat.stdout


def test_turns_go_on_from_one_another(system: System) -> None:
    chat = _piped(system, "a\nb\nc\n/quit\nd\n", "--agent", "turns")
    assert chat.stdout == "turn 1\nturn 2\nturn 3\n"


def test_what_an_agent_writes_cannot_steer_the_terminal(system: System) -> None:
    assert _piped(system, "hello\n", "--agent", "evil").stdout == "[2Jclean\n"


def test_a_failure_is_shown_and_is_the_exit_status(system: System) -> None:
    chat = _piped(system, "Please fail.\nWhat is 2 + 3?\n", "--agent", "demo")
    assert chat.returncode == 1
    assert "DEMO_FAILURE" in chat.stderr
    assert "5" in chat.stdout, "the next question is answered all the same"


def test_an_unknown_agent_is_said_with_those_there_are(system: System) -> None:
    chat = _piped(system, "hello\n", "--agent", "nobody")
    assert chat.returncode == 1
    assert "There is no agent nobody; there are demo, evil, turns." in chat.stderr


def test_a_server_that_is_not_there_is_said(system: System, tmp_path: Path) -> None:
    idle = System(tmp_path)
    chat = _piped(system, "hello\n", "--target", idle.grpc_target)
    idle.close()
    assert chat.returncode == 1
    assert f"No Breezeway server answers at {idle.grpc_target}; start one with" in chat.stderr
    assert "Traceback" not in chat.stderr


def test_ctrl_c_cancels_the_answer_and_ctrl_d_leaves(system: System) -> None:
    terminal = Terminal(system.environ, "chat", "--agent", "demo")
    terminal.wait_for("> ")
    terminal.type("Write 2000 words.\n")
    terminal.wait_for("this one joins")
    terminal.type("\x03")
    terminal.wait_for("[cancelled; ")
    terminal.wait_for("> ", times=2)
    terminal.type("What is 6 * 7?\n")
    terminal.wait_for("← 42")
    terminal.wait_for("> ", times=3)
    terminal.type("\x04")
    assert terminal.close() == 0


def test_quit_leaves(system: System) -> None:
    terminal = Terminal(system.environ, "chat")
    terminal.wait_for("> ")
    terminal.type("/quit\n")
    assert terminal.close() == 0
