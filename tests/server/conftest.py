"""The server's inside, with an agent that tests steer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.server import PlainAgent, ScriptedAgent, Stack, running


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent(aliases=["other-name"])


@pytest.fixture
async def stack(tmp_path: Path, agent: ScriptedAgent) -> AsyncIterator[Stack]:
    async with running(tmp_path, agent, PlainAgent("plain")) as stack:
        yield stack
