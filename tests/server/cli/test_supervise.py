"""The processes that `breezeway serve` keeps."""

import asyncio
import os

import click
import pytest
from breezeway_server.cli import supervise


async def test_a_child_that_is_about_to_be_started_again_stops_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = asyncio.Event()

    def echo(message: str, *, err: bool) -> None:
        assert (message, err) == ("no_such_module ended with status 1; starting it again.", True)
        lost.set()

    monkeypatch.setattr(click, "echo", echo)
    child = supervise.Child("no_such_module", (), os.environ)
    running = asyncio.create_task(child.run())
    await lost.wait()
    child.stop()
    assert await running == 0
