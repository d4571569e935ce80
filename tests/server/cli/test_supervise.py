"""The processes that `breezeway serve` keeps."""

import asyncio
import os
from pathlib import Path

import click
import pytest
from breezeway_server.cli import supervise

from tests.server.cli.commands import piped
from tests.support.system import System

# What server and shim need and `serve` does not, in an installation that is broken for one of the two.
_UVLOOP = """
import importlib
import os
import pathlib
import sys

if {condition}:
    {fault}
sys.path.remove(str(pathlib.Path(__file__).parent))
del sys.modules["uvloop"]
importlib.import_module("uvloop")
"""
_SERVER = ("breezeway_server", "'server' in sys.argv")
_SHIM = ("breezeway_shim", "'breezeway_shim' in sys.argv[0]")


async def test_a_child_that_is_about_to_be_started_again_stops_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = asyncio.Event()

    def echo(message: str, *, err: bool) -> None:
        assert (message, err) == ("no_such_module ended with status 1; starting it again.", True)
        lost.set()

    monkeypatch.setattr(click, "echo", echo)
    child = supervise.Child("no_such_module", (), os.environ, asyncio.Event())
    running = asyncio.create_task(child.run())
    await lost.wait()
    child.stop()
    assert await running == 0


async def test_a_child_that_has_served_is_started_again_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    again = asyncio.Semaphore(0)
    monkeypatch.setattr(click, "echo", lambda *_, **__: again.release())
    monkeypatch.setattr(supervise, "_FIRST_PAUSE", 0.0)
    served = asyncio.Event()
    served.set()
    child = supervise.Child("no_such_module", (), os.environ, served)
    running = asyncio.create_task(child.run())
    for _ in range(5):
        await again.acquire()
    child.stop()
    await running


@pytest.mark.parametrize(
    ("broken", "fault", "told"),
    [
        (
            _SERVER,
            "raise ExceptionGroup('all', [ModuleNotFoundError('no library')])",
            "ModuleNotFoundError: no library",
        ),
        (_SHIM, "os.kill(os.getpid(), 9)", "status -9"),
    ],
    ids=["an error", "a signal"],
)
def test_a_child_that_breaks_at_each_start_is_given_up_with_its_last_error(
    tmp_path: Path, broken: tuple[str, str], fault: str, told: str
) -> None:
    module, condition = broken
    (tmp_path / "uvloop.py").write_text(_UVLOOP.format(condition=condition, fault=fault), encoding="utf-8")
    system = System(tmp_path, environ={"PYTHONPATH": str(tmp_path)})
    done = piped(system.environ, "serve")
    system.close()
    assert done.returncode == supervise.CANNOT_START
    assert f"{module} ended 4 times before anything was served, the last time with {told}." in done.stderr
    assert done.stderr.count("starting it again") == 3
