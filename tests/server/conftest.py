"""The server's inside, with an agent that tests steer."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.support.server import PlainAgent, ScriptedAgent, Stack, running


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What is logged; not rendered, which takes longer than most tests."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def agent() -> ScriptedAgent:
    return ScriptedAgent(aliases=["other-name"])


@pytest.fixture
async def stack(tmp_path: Path, agent: ScriptedAgent) -> AsyncIterator[Stack]:
    async with running(tmp_path, agent, PlainAgent("plain")) as stack:
        yield stack
