"""Agents in other processes, through the whole system: `breezeway serve`, the example agent, the openai SDK."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import grpc
import openai
import pytest
from breezeway.v1 import run_pb2
from openai import AsyncOpenAI

from tests.e2e.native import Native
from tests.e2e.sdk import text_of, user
from tests.server.agents.remote import fake
from tests.server.agents.remote.examples import example
from tests.server.agents.remote.fake import FakeAgent, saying
from tests.support.patience import PATIENCE
from tests.support.system import ReservedPort, System

_CONFIG = """
[agents.remote]
kind = "grpc"
endpoints = ["{agent}"]

[agents.pair]
kind = "grpc"
endpoints = ["{dead}", "{agent}"]

[agents.down]
kind = "grpc"
endpoints = ["{dead}"]
retries = 0

[agents.mortal]
kind = "grpc"
endpoints = ["{mortal}"]
retries = 0
"""


@pytest.fixture(scope="module")
def agent() -> Iterator[str]:
    with example("python") as (address, _):
        yield address


@pytest.fixture(scope="module")
def mortal() -> Iterator[ReservedPort]:
    """Where the agent that gets killed is looked for."""
    with ReservedPort.reserved() as port:
        yield port


@pytest.fixture(scope="module")
def system(agent: str, mortal: ReservedPort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ReservedPort.reserved() as dead:
        config = _CONFIG.format(agent=agent, dead=f"127.0.0.1:{dead.number}", mortal=f"127.0.0.1:{mortal.number}")
        with System.serving(tmp_path_factory.mktemp("remote"), config=config) as system:
            yield system


@pytest.fixture
async def client(system: System) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
async def native(system: System) -> AsyncIterator[Native]:
    async with grpc.aio.insecure_channel(system.grpc_target) as channel:
        yield Native(channel)


@pytest.mark.parametrize("model", ["remote", "pair"])
async def test_a_chat_streams_from_a_remote_agent_also_where_another_endpoint_is_dead(
    client: AsyncOpenAI, model: str
) -> None:
    for _ in range(4):
        stream = await client.chat.completions.create(model=model, messages=user("hello there"), stream=True)
        chunks = [chunk async for chunk in stream]
        assert text_of(chunks) == "You said: hello there"
        assert len(chunks) > 2


async def test_what_a_remote_agent_does_is_in_the_log(native: Native) -> None:
    run = await native.ended((await native.create("remote", "conformance: tool")).id)
    assert run.state == run_pb2.RUN_STATE_COMPLETED
    kinds = [item.WhichOneof("kind") for item in run.output]
    assert kinds == ["function_call", "function_call_output", "message"]


async def test_the_callers_own_tool_goes_round(client: AsyncOpenAI) -> None:
    parameters: dict[str, object] = {"type": "object", "properties": {"text": {"type": "string"}}}
    completion = await client.chat.completions.create(
        model="remote",
        messages=user("conformance: client tool"),
        tools=[{"type": "function", "function": {"name": "echo", "parameters": parameters}}],
    )
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("echo", '{"text":"hello"}')


async def test_hanging_up_cancels_the_remote_handler(client: AsyncOpenAI, native: Native) -> None:
    stream = await client.chat.completions.create(model="remote", messages=user("conformance: cancel"), stream=True)
    first = await anext(stream)
    await stream.close()
    run = await native.ended(first.id)
    assert run.state == run_pb2.RUN_STATE_CANCELLED
    async with asyncio.timeout(PATIENCE):
        while await _answer(client, f"conformance: cancelled {run.id}") != "yes":
            pass


async def _answer(client: AsyncOpenAI, text: str) -> str | None:
    completion = await client.chat.completions.create(model="remote", messages=user(text))
    return completion.choices[0].message.content


async def test_an_agent_that_is_not_there_is_a_clear_error(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model="down", messages=user("hello"))
    assert caught.value.status_code in {502, 503}
    assert 'Agent "down" cannot be reached' in caught.value.message


async def test_an_agent_that_is_killed_at_work_fails_its_run_with_a_reason(
    native: Native, mortal: ReservedPort
) -> None:
    with example("python", f"127.0.0.1:{mortal.number}") as (_, process):
        run = await native.create("mortal", "conformance: cancel")
        async for event in native.follow(run.id):
            if event.HasField("text_delta"):
                process.kill()
        run = await native.get(run.id)
    assert run.state == run_pb2.RUN_STATE_FAILED
    assert run.error.reason == "AGENT_UNAVAILABLE"
    assert "was lost while it worked" in run.error.message
    assert run.output[0].message.content[0].text.text.startswith("on and ")


async def test_an_agent_is_told_whose_run_it_is(tmp_path: Path) -> None:
    root = {"Authorization": "Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f0"}
    environ = {"BREEZEWAY_API_KEYS": root["Authorization"].removeprefix("Bearer ")}
    async with FakeAgent.serving(saying(fake.steps(fake.text("hello")))) as told:
        config = _CONFIG.format(agent=told.address, dead="127.0.0.1:1", mortal="127.0.0.1:1")
        with System.serving(tmp_path, environ=environ, config=config) as system:
            async with aiohttp.ClientSession(system.url) as http:
                asked = {"tenant": "acme", "scopes": ["KEY_SCOPE_RUN"]}
                async with http.post("/api/keys", json=asked, headers=root) as made:
                    created = await made.json()
                ask = {"model": "remote", "messages": user("hi"), "user": "ann"}
                for secret in (created["secret"], environ["BREEZEWAY_API_KEYS"]):
                    headers = {"Authorization": f"Bearer {secret}"}
                    async with http.post("/v1/chat/completions", json=ask, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()
    names = ("breezeway-tenant", "breezeway-key", "breezeway-user")
    assert [tuple(metadata.get(name) for name in names) for metadata in told.metadata] == [
        ("acme", created["key"]["id"], "ann"),
        ("default", None, "ann"),
    ]
