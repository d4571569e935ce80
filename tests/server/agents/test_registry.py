"""Agents by name."""

import pytest
from breezeway.v1 import agent_pb2
from breezeway_server.agents.build import build_agents
from breezeway_server.agents.errors import ConfigError

from tests.server.agents.conftest import NOW


async def test_agents_are_found_by_name_and_alias_and_listed_by_name() -> None:
    document = {
        "agents": {
            "zed": {"kind": "demo"},
            "helper": {
                "kind": "llm",
                "model": "m",
                "base_url": "http://localhost:1/v1",
                "aliases": ["gpt-4o", "openai/gpt-4o"],
                "files": True,
            },
        }
    }
    registry = build_agents(document, {}, create_time=NOW)
    assert [info.name for info in registry.infos] == ["demo", "helper", "zed"]
    helper = registry.get("helper")
    assert helper is not None
    assert helper is registry.get("openai/gpt-4o")
    assert registry.get("unknown") is None
    assert helper.info.create_time.ToJsonString() == "2026-11-21T12:00:00Z"
    assert helper.info.kind == "llm"
    assert list(helper.info.capabilities.content_kinds) == [agent_pb2.CONTENT_KIND_IMAGE, agent_pb2.CONTENT_KIND_FILE]
    assert helper.info.capabilities.resumable
    await registry.close()


def test_a_name_belongs_to_one_agent() -> None:
    document = {"agents": {name: {"kind": "demo", "aliases": ["same"]} for name in ("a", "b")}}
    with pytest.raises(ConfigError, match='"same" also belongs to agent "a"'):
        build_agents(document, {}, create_time=NOW)
