"""Agents from the file and the environment, and what is said where they are broken."""

from pathlib import Path
from typing import Any

import pytest
from breezeway_server.agents.build import build_agents
from breezeway_server.agents.config import DEFAULT_MODEL, LlmConfig, agent_configs, read_document
from breezeway_server.agents.errors import ConfigError

from tests.server.agents.conftest import NOW


def _llm(**keys: Any) -> dict[str, Any]:
    return {"agents": {"helper": {"kind": "llm", "model": "m", "base_url": "http://localhost:1/v1", **keys}}}


def test_without_file_and_keys_there_is_the_demo() -> None:
    assert list(agent_configs({}, {})) == ["demo"]


@pytest.mark.parametrize("environ", [{"OPENAI_API_KEY": "k"}, {"OPENAI_BASE_URL": "http://localhost:1/v1/"}])
def test_a_key_or_url_in_the_environment_makes_the_assistant(environ: dict[str, str]) -> None:
    config = agent_configs({}, environ)["assistant"]
    assert isinstance(config, LlmConfig)
    assert config.model == DEFAULT_MODEL
    assert config.base_url == environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1/").rstrip("/")


def test_the_model_of_the_assistant_is_a_setting() -> None:
    config = agent_configs({}, {"OPENAI_API_KEY": "k", "BREEZEWAY_MODEL": "other"})["assistant"]
    assert isinstance(config, LlmConfig)
    assert config.model == "other"


def test_a_file_adds_to_these_and_wins_by_name() -> None:
    document = {"agents": {"demo": {"kind": "demo", "description": "mine"}}, "server": {"other": 1}}
    configs = agent_configs(document, {"OPENAI_API_KEY": "k"})
    assert sorted(configs) == ["assistant", "demo"]
    assert configs["demo"].description == "mine"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (_llm(base_url="localhost"), "agents.helper.base_url: is not an http or https URL"),
        (_llm(base_url="http://u:p@h/v1"), "agents.helper.base_url: must be a plain URL"),
        (_llm(colour="red"), "agents.helper.colour: is not a key of this kind of table; remove it"),
        (_llm(retries=-1), "agents.helper.retries: "),
        (_llm(max_total_tokens=0), "agents.helper.max_total_tokens: "),
        (_llm(tools=["a:b", 7]), "agents.helper.tools[1]: "),
        (_llm(sampling={"temperature": 9}), "agents.helper.sampling.temperature: "),
        ({"agents": {"helper": {"kind": "llm"}}}, "agents.helper.model: is missing; add it"),
        (
            {"agents": {"helper": {"kind": "robot"}}},
            'agents.helper: kind must be one of "demo", "grpc", "llm" and "python"',
        ),
        ({"agents": {"helper": {}}}, 'agents.helper: kind must be one of "demo", "grpc", "llm" and "python"'),
        ({"agents": {"Big Name": {"kind": "demo"}}}, "agents.Big Name: is no agent's name"),
        ({"agents": 7}, "agents: must be a table"),
        (_llm(api_key_env="MISSING"), "agents.helper.api_key_env: the environment variable MISSING is not set"),
        (_llm(api_key="k", api_key_env="K"), "agents.helper.api_key: api_key_env is there too"),
        (
            _llm(base_url="https://api.openai.com/v1"),
            "agents.helper.api_key_env: the environment variable OPENAI_API_KEY",
        ),
        (_llm(tools=["nonsense"]), "agents.helper.tools[0]: "),
        (_llm(tools=[{"path": "a:b", "approval": "maybe"}]), "agents.helper.tools[0].approval: "),
        (_llm(tools=[{"path": "a:b", "colour": 1}]), "agents.helper.tools[0].colour: is not a key"),
        (_llm(approval="always"), "agents.helper.approval: "),
        (_llm(mcp=["files"]), "agents.helper.mcp[0]: there is no table [mcp.files]; add it"),
        ({"mcp": 7}, "mcp: must be a table"),
        ({"mcp": {"a__b": {"command": "x"}}}, "mcp.a__b: is no server's name"),
        ({"mcp": {"a": {}}}, "mcp.a: needs command (a program) or url (streamable HTTP), one of them"),
        ({"mcp": {"a": {"command": "x", "url": "http://x"}}}, "mcp.a: needs command (a program) or url"),
        ({"mcp": {"a": {"command": "x", "colour": 1}}}, "mcp.a.colour: is not a key of this kind of table"),
        ({"mcp": {"a": {"url": "x"}}}, "mcp.a.url: is not an http or https URL"),
        ({"mcp": {"a": {"command": "x", "approval": {"t": "maybe"}}}}, "mcp.a.approval"),
        ({"mcp": {"a": {"command": "x", "env_from": ["NO"]}}}, "mcp.a.env_from: the environment variable NO is not"),
        ({"mcp": {"a": {"url": "http://x", "api_key_env": "NO"}}}, "mcp.a.api_key_env: the environment variable NO"),
        (_llm(aliases=["demo"]), 'the name or alias "demo" also belongs to agent'),
        (
            {"agents": {"helper": {"kind": "python", "path": "tests.server.agents.functions:add"}}},
            "agents.helper.path: ",
        ),
        ({"agents": {"helper": {"kind": "python", "path": "no.such:thing"}}}, "agents.helper.path: importing no.such"),
    ],
)
def test_a_broken_file_names_file_and_key(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_agents(document, {}, create_time=NOW, source="breezeway.toml")
    assert str(caught.value).startswith("breezeway.toml: ")
    assert message in str(caught.value)


def test_a_budget_of_tokens_is_shown_with_the_agent() -> None:
    registry = build_agents(_llm(max_total_tokens=500), {}, create_time=NOW)
    budgets = {info.name: info.max_total_tokens for info in registry.infos if info.HasField("max_total_tokens")}
    assert budgets == {"helper": 500}


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        agent_configs(_llm(colour="red", retries=-1), {})
    assert len(str(caught.value).splitlines()) == 2


def test_a_broken_environment_is_named() -> None:
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL: is not an http or https URL"):
        agent_configs({}, {"OPENAI_BASE_URL": "ftp://x"})


def test_a_key_is_not_shown_where_the_configuration_is() -> None:
    assert "k3y" not in repr(agent_configs(_llm(api_key="k3y-secret", headers={"X": "k3y"}), {}))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text('[agents.helper]\nkind = "demo"\n')
    assert list(agent_configs(read_document(path), {})) == ["demo", "helper"]


@pytest.mark.parametrize("content", [b"[agents", b"\xff", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "b.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"b\.toml"):
        read_document(path)
