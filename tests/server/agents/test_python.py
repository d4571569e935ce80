"""The python agent."""

import pytest
from breezeway_server.agents.base import AgentError

from tests.server.agents.conftest import built
from tests.support.agents import FakeRun

HERE = "tests.server.agents.functions"


@pytest.mark.parametrize(("name", "text"), [("raises", "before "), ("yields_nonsense", "")])
async def test_what_goes_wrong_inside_stays_inside(name: str, text: str) -> None:
    run = FakeRun.asking("go")
    async with built({"kind": "python", "path": f"{HERE}:{name}"}) as agent:
        with pytest.raises(AgentError) as caught:
            await run.work(agent)
    assert run.text == text
    assert caught.value.error.reason == "AGENT_FAILED"
    assert "secret" not in str(caught.value.error)
    assert caught.value.__cause__ is None


async def test_it_takes_what_its_configuration_says() -> None:
    async with built({"kind": "python", "path": f"{HERE}:echo", "client_tools": True, "images": True}) as agent:
        assert agent.info.capabilities.client_tools
        assert not agent.info.capabilities.resumable
        assert len(agent.info.capabilities.content_kinds) == 1
