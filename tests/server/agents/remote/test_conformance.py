"""The conformance suite: all example agents pass it, and it finds what it is there to find."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from breezeway.v1 import agent_service_pb2, run_pb2
from breezeway_server.agents.remote.channel import channel_opener
from breezeway_server.agents.remote.conformance import checks
from breezeway_server.agents.remote.conformance.suite import Result, Verdict, check_agent
from breezeway_server.cli.main import main
from click.testing import CliRunner

from tests.server.agents.remote import fake
from tests.server.agents.remote.examples import LANGUAGES, example
from tests.server.agents.remote.fake import Answer, FakeAgent, arguments, completed, output, started, text
from tests.support.agents import text_of
from tests.support.patience import PATIENCE
from tests.support.system import ReservedPort

_SKIPPED = {"python": set(), "node": {"approvals"}, "go": {"approvals", "reasoning"}}


async def _check(address: str) -> dict[str, Result]:
    opener = channel_opener(None, connect_timeout=PATIENCE, max_message_bytes=2**24, key="tls")
    checking = check_agent(address, opener, connect_timeout=PATIENCE, deadline=PATIENCE)
    return {result.name: result async for result in checking}


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent may take its time to notice that it was cancelled: the machine may be busy."""
    monkeypatch.setattr(checks, "_SETTLE_SECONDS", PATIENCE)


# The first build fetches modules and compiles a gRPC library.
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_examples_pass(language: str) -> None:
    with example(language) as (address, _):
        results = await _check(address)
    assert not [result for result in results.values() if result.verdict is Verdict.FAILED]
    assert {result.name for result in results.values() if result.verdict is Verdict.SKIPPED} == _SKIPPED[language]


def _answering(wrong: dict[str, Answer]) -> Answer:
    """Answers as `wrong` says by the prompt, and with a few words where it says nothing."""

    async def answer(request: agent_service_pb2.RunRequest, context: Any) -> AsyncIterator[bytes]:
        prompt = text_of([*request.history, *request.input]).removeprefix("conformance: ").partition(" run_")[0]
        async for response in wrong.get(prompt, fake.saying(fake.steps(text("some words"))))(request, context):
            yield response

    return answer


async def _deaf(request: agent_service_pb2.RunRequest, context: Any) -> AsyncIterator[bytes]:
    """Goes on whatever happens, as far as anybody can tell."""
    yield fake.steps(text("on"))
    await asyncio.Event().wait()


def _failing(*said: agent_service_pb2.AgentStep) -> Answer:
    return fake.saying(fake.steps(*said))


@pytest.mark.parametrize(
    ("name", "prompt", "wrong", "detail"),
    [
        ("text", "text", fake.saying(), "without any text"),
        ("text", "text", fake.ending(grpc.StatusCode.INTERNAL, "oh"), "INTERNAL: oh"),
        ("text", "text", fake.saying(b"\xff"), "no RunResponse"),
        ("cancellation", "cancel", fake.saying(), "before it could be cancelled"),
        ("cancellation arrives", "cancelled", _failing(text("no")), "had not noticed"),
        ("server tools", "tool", _failing(started("a"), arguments("a", "{}"), completed("a")), "has no output"),
        ("server tools", "tool", _failing(started("a"), output("a", "3")), "not whole yet"),
        ("server tools", "tool", _failing(started("a"), arguments("a", "{"), completed("a")), "no JSON"),
        ("client tools", "client tool", _failing(text("no")), "did not call the tool"),
        ("errors", "error", fake.ending(grpc.StatusCode.INTERNAL, "oh"), "say run_failed"),
        ("errors", "error", _failing(agent_service_pb2.AgentStep(run_failed=run_pb2.RunError())), "needs reason"),
        ("resumes text", "resume", _failing(text("some words")), "said again"),
    ],
)
async def test_what_is_wrong_is_found(name: str, prompt: str, wrong: Answer, detail: str) -> None:
    async with FakeAgent.serving(_answering({"cancel": _deaf, prompt: wrong})) as agent:
        result = (await _check(agent.address))[name]
    assert result.verdict is Verdict.FAILED
    assert detail in result.detail


async def test_what_an_agent_does_not_do_is_skipped_by_name() -> None:
    async with FakeAgent.serving(_answering({"cancel": _deaf})) as agent:
        agent.description.capabilities.Clear()
        results = await _check(agent.address)
    skipped = {name for name, result in results.items() if result.verdict is Verdict.SKIPPED}
    assert skipped == set(results) - {"describe", "text", "cancellation", "unknown fields"}
    assert all(result.detail for result in results.values())


@pytest.mark.usefixtures("unhurried")
def test_the_command_prints_a_table_and_says_how_it_went() -> None:
    with example("python") as (address, _):
        done = CliRunner().invoke(main, ["agent", "check", address])
    assert done.exit_code == 0, done.output
    assert "cancellation arrives" in done.output
    assert "13 passed, 0 failed, 0 skipped" in done.output


def test_the_command_fails_where_nobody_answers() -> None:
    with ReservedPort.reserved() as port:
        done = CliRunner().invoke(main, ["agent", "check", f"127.0.0.1:{port.number}"])
    assert done.exit_code == 1
    assert "No agent can be reached" in done.output
