"""The example clients in other languages against a real server, which is lost in the middle of their run."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
from breezeway_server.agents.base import RunContext
from breezeway_server.agents.steps import Step, TextDelta

from tests.client.host import Host
from tests.support.building import ROOT, build_go, build_node, googleapis
from tests.support.server import ScriptedAgent

LANGUAGES = ("node", "go")


class AnnouncingAgent(ScriptedAgent):
    """Tells which runs it is called for, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: asyncio.Queue[str] = asyncio.Queue()

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        self.begun.put_nowait(context.run_id)
        async with aclosing(super().run(context)) as steps:
            async for step in steps:
                yield step


def command(language: str) -> list[str]:
    """How the example in that language is run. Skips the test where the language is not there."""
    match language:
        case "node":
            return ["node", str(build_node("clients", "client.js") / "client.js")]
        case "go":
            return [str(build_go("clients") / "client")]
        case _:
            raise AssertionError(f"there is no example in {language}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_example_prints_the_whole_answer_over_a_crash_of_the_server(tmp_path: Path, language: str) -> None:
    program = await asyncio.to_thread(command, language)
    scripted = AnnouncingAgent()
    environ = {**os.environ, "PROTOS": str(ROOT / "protos"), "GOOGLEAPIS": str(googleapis())}
    async with Host.serving(tmp_path, scripted) as host:
        process = await asyncio.create_subprocess_exec(
            *program, host.target, "scripted", "hello", env=environ, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            script = scripted.script(await scripted.begun.get())
            script.say(TextDelta("before "))
            assert await process.stdout.readexactly(7) == b"before "
            await host.crash()
            await host.start()
            script.say(TextDelta("after"))
            script.end()
            assert await process.stdout.read() == b"after\n"
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
