"""Profiles: agents that come and go while the server runs, and stay over its restarts."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from breezeway_server.agents.steps import TextDelta
from breezeway_server.errors import AlreadyExists, FailedPrecondition, InvalidRequest, NotFound
from breezeway_server.profiles.profiles import Profiles
from breezeway_server.profiles.secrets import SecretBox
from structlog.typing import EventDict

from tests.support.server import PlainAgent, ScriptedAgent, Stack, running

KEY = "a key of thirty-two characters, or more"
URL = "http://127.0.0.1:1/v1"
LLM = {"kind": "llm", "model": "m", "base_url": URL}


@pytest.fixture
async def profiles(stack: Stack) -> Profiles:
    profiles = stack.profiles_with(SecretBox(KEY))
    await profiles.load()
    return profiles


async def test_an_agent_can_be_run_as_soon_as_it_is_created(stack: Stack, profiles: Profiles) -> None:
    profile = await profiles.create("helper", {**LLM, "aliases": ["gpt-4o"], "description": "Helps."})
    assert profile.agent is not None
    assert stack.agents.get("helper") is stack.agents.get("gpt-4o") is profile.agent
    assert [info.name for info in stack.agents.infos] == ["helper", "plain", "scripted"]
    run = await stack.ended(await stack.create(agent="gpt-4o"))
    assert (run.spec.agent, run.error.reason) == ("helper", "UPSTREAM_UNAVAILABLE")


async def test_agents_are_there_after_a_restart_with_their_secrets(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        profiles = stack.profiles_with(SecretBox(KEY))
        created = await profiles.create("helper", {**LLM, "api_key": "k3y-secret", "headers": {"X-Team": "t3am"}})
    async with running(tmp_path) as stack:
        profiles = stack.profiles_with(SecretBox(KEY))
        await profiles.load()
        assert profiles.get("helper").stored == created.stored
        assert profiles.get("helper").fault == ""
        assert profiles._opened(created.stored) == {"api_key": "k3y-secret", "headers": {"X-Team": "t3am"}}
        assert stack.agents.get("helper") is not None


async def test_secrets_are_neither_shown_nor_kept_in_the_clear(
    tmp_path: Path, profiles: Profiles, logged: list[EventDict]
) -> None:
    config = {**LLM, "api_key": "k3y-secret", "headers": {"X-Team": "t3am", "A": "b3"}}
    profile = await profiles.create("helper", config)
    assert profile.stored.config == LLM
    assert profile.stored.secret_keys == ("api_key", "headers.A", "headers.X-Team")
    with sqlite3.connect(tmp_path / "breezeway.sqlite3") as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    data = _all_of(tmp_path)
    assert b"helper" in data
    for secret in ("k3y-secret", "t3am"):
        assert secret.encode() not in data
        assert secret not in repr(profile)
        assert secret not in repr(logged)


def _all_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def test_without_a_key_secrets_are_refused_and_may_be_named(stack: Stack) -> None:
    for key in ({"api_key": "k3y"}, {"headers": {"X-Team": "t"}}):
        with pytest.raises(InvalidRequest) as raised:
            await stack.profiles.create("helper", {**LLM, **key})
        assert (raised.value.reason, raised.value.field) == ("SECRET_KEY_MISSING", f"config.{next(iter(key))}")
    assert await stack.store.list_profiles() == []
    profile = await stack.profiles.create("helper", {**LLM, "api_key_env": "MODEL_KEY"})
    assert profile.stored.secrets is None


@pytest.mark.parametrize("box", [SecretBox(KEY[::-1]), None])
async def test_lost_secrets_fail_the_runs_of_their_agent_and_nothing_else(
    tmp_path: Path, box: SecretBox | None, logged: list[EventDict]
) -> None:
    async with running(tmp_path) as stack:
        profiles = stack.profiles_with(SecretBox(KEY))
        await profiles.create("helper", {**LLM, "api_key": "k3y-secret"})
        await profiles.create("keyless", LLM)
    async with running(tmp_path, PlainAgent("plain", TextDelta("hi"))) as stack:
        profiles = stack.profiles_with(box)
        await profiles.load()
        assert [entry["agent"] for entry in logged if entry["event"] == "profile_secrets_lost"] == ["helper"]
        assert [profile.fault for profile in profiles.list()] == ["AGENT_SECRET_LOST", ""]
        run = await stack.ended(await stack.create(agent="helper", tools=[]))
        assert run.error.reason == "AGENT_SECRET_LOST"
        assert not (await stack.ended(await stack.create(agent="plain"))).HasField("error")
        with pytest.raises(FailedPrecondition, match="set api_key again") as raised:
            await profiles.update("helper", {"model": "n"})
        assert raised.value.reason == "AGENT_SECRET_LOST"
        mended = await profiles.update("helper", {"api_key": None})
        assert (mended.fault, mended.stored.secret_keys) == ("", ())
        await profiles.close()


async def test_an_agent_that_cannot_be_built_any_more_says_so(tmp_path: Path, logged: list[EventDict]) -> None:
    async with running(tmp_path) as stack:
        await stack.profiles.create("helper", {**LLM, "aliases": ["plain-one"]})
    async with running(tmp_path, PlainAgent("plain-one")) as stack:
        await stack.profiles.load()
        assert stack.profiles.get("helper").fault == "AGENT_NOT_READY"
        assert [entry["agent"] for entry in logged if entry["event"] == "profile_not_ready"] == ["helper"]
        run = await stack.ended(await stack.create(agent="helper"))
        assert run.error.reason == "AGENT_NOT_READY"
        assert "plain-one" not in run.error.message
        assert (await stack.profiles.update("helper", {"aliases": None})).fault == ""
        await stack.profiles.close()


async def test_the_configuration_wins_over_a_profile_of_the_same_name(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.profiles.create("helper", LLM)
    configured = PlainAgent("helper")
    async with running(tmp_path, configured) as stack:
        await stack.profiles.load()
        assert stack.agents.get("helper") is configured
        with pytest.raises(FailedPrecondition, match="comes from the server's configuration"):
            await stack.profiles.update("helper", {"model": "n"})
        await stack.profiles.delete("helper")
        assert stack.agents.get("helper") is configured
    async with running(tmp_path) as stack:
        assert await stack.store.list_profiles() == []


async def test_a_change_names_what_it_changes_and_leaves_the_rest(profiles: Profiles) -> None:
    await profiles.create("helper", {**LLM, "api_key": "k3y", "instructions": "Be brief.", "retries": 3})
    profile = await profiles.update("helper", {"model": "n", "instructions": None})
    assert profile.stored.config == {**LLM, "model": "n", "retries": 3}
    assert profiles._opened(profile.stored) == {"api_key": "k3y"}
    assert profile.stored.update_time_ns > profile.stored.create_time_ns


async def test_secrets_do_not_go_to_a_new_destination(profiles: Profiles) -> None:
    await profiles.create("helper", {**LLM, "api_key": "k3y"})
    assert (await profiles.update("helper", {"base_url": URL})).stored.secret_keys == ("api_key",)
    assert (await profiles.update("helper", {"base_url": "http://127.0.0.1:2/v1"})).stored.secret_keys == ()


async def test_a_run_under_way_keeps_its_agent_until_it_ends(
    stack: Stack, profiles: Profiles, agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    class Replaceable(ScriptedAgent):
        async def close(self) -> None:
            closed.append(self)

    old, new = Replaceable("helper"), Replaceable("helper")
    await profiles.create("helper", LLM)
    built = iter([old, new])
    monkeypatch.setattr(profiles, "_build", lambda *_: next(built))
    await profiles.update("helper", {})
    run_id = await stack.create(agent="helper")
    await old.script(run_id).begun.wait()
    await profiles.update("helper", {"model": "n"})
    assert stack.agents.get("helper") is new
    assert closed == []
    old.script(run_id).say(TextDelta("bye"))
    old.script(run_id).end()
    assert not (await stack.ended(run_id)).HasField("error")
    await profiles.close()
    assert closed == [old]
    await profiles.delete("helper")
    await profiles.close()
    assert closed == [old, new]
    with pytest.raises(NotFound):
        await stack.create(agent="helper")


async def test_names_belong_to_one_agent(profiles: Profiles) -> None:
    for name in ("scripted", "other-name"):
        with pytest.raises(AlreadyExists):
            await profiles.create(name, LLM)
    with pytest.raises(AlreadyExists, match="other-name"):
        await profiles.create("helper", {**LLM, "aliases": ["other-name"]})
    await profiles.create("helper", LLM)
    with pytest.raises(AlreadyExists):
        await profiles.create("helper", LLM)
    for name, reason in (("scripted", "AGENT_READ_ONLY"), ("other-name", "AGENT_READ_ONLY")):
        with pytest.raises(FailedPrecondition) as raised:
            await profiles.delete(name)
        assert raised.value.reason == reason
    with pytest.raises(NotFound):
        await profiles.delete("nobody")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "config.kind"),
        ({"kind": "python", "path": "os:system"}, "config.kind"),
        ({"kind": "demo"}, "config.kind"),
        ({"kind": "llm"}, "config.model"),
        ({**LLM, "colour": "red"}, "config.colour"),
        ({**LLM, "base_url": "ftp://x"}, "config.base_url"),
        ({**LLM, "sampling": {"top_p": 2}}, "config.sampling.top_p"),
        ({**LLM, "aliases": ["ok", "not ok"]}, "config.aliases[1]"),
        ({**LLM, "tools": ["os:system"]}, "config.tools"),
        ({**LLM, "mcp": ["nowhere"]}, "config"),
        ({**LLM, "api_key_env": "NOT_SET"}, "config"),
        ({**LLM, "api_key_env": "BREEZEWAY_SECRET_KEY"}, "config.api_key_env"),
        ({**LLM, "api_key": "k3y", "api_key_env": "MODEL_KEY"}, "config.api_key"),
        ({**LLM, "api_key": 5}, "config.api_key"),
        ({"kind": "grpc"}, "config.endpoints"),
    ],
)
async def test_a_fault_names_its_key_and_changes_nothing(
    stack: Stack, profiles: Profiles, config: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await profiles.create("helper", config)
    assert raised.value.field == field
    assert "k3y" not in raised.value.message
    assert stack.agents.get("helper") is None
    assert await stack.store.list_profiles() == []


@pytest.mark.parametrize("name", ["", "Helper", "a/b", "x" * 65])
async def test_a_name_that_cannot_be(profiles: Profiles, name: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        await profiles.create(name, LLM)
    assert raised.value.field == "name"
