"""Both clients against a real server: what they call, and that their streams go on over a restart of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from breezeway.client import AsyncClient, BreezewayError, Client
from breezeway.v1 import event_pb2, item_pb2, run_pb2, run_service_pb2, stream_service_pb2
from breezeway_server.agents.steps import TextDelta

from tests.client.host import Host
from tests.support.patience import PATIENCE
from tests.support.server import PlainAgent, ScriptedAgent, kinds, text_of_events, texts
from tests.support.system import ReservedPort


@pytest.fixture
def scripted() -> ScriptedAgent:
    return ScriptedAgent()


@pytest.fixture
async def host(tmp_path: Path, scripted: ScriptedAgent) -> AsyncIterator[Host]:
    plain = PlainAgent("plain", TextDelta("one "), TextDelta("two"))
    async with Host.serving(tmp_path, plain, scripted) as host:
        yield host


@pytest.fixture
async def client(host: Host) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(host.target, reconnect_seconds=PATIENCE) as client:
        yield client


async def test_a_run_is_run_to_its_end(client: AsyncClient) -> None:
    run = await client.run("plain", "hello", spec=run_pb2.RunSpec(metadata={"a": "b"}))
    assert run.state == run_pb2.RUN_STATE_COMPLETED
    assert texts(run.input) == ["hello"]
    assert texts(run.output) == ["one two"]
    assert dict(run.spec.metadata) == {"a": "b"}


async def test_a_stream_has_every_event_once_and_can_be_followed_from_each(client: AsyncClient) -> None:
    events = [event async for event in client.stream("plain", "hello")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert text_of_events(events) == "one two"
    for after in range(len(events) + 1):
        assert [event async for event in client.follow(events[0].run_id, after=after)] == events[after:]


async def test_a_stream_goes_on_over_a_crash_of_the_server(
    client: AsyncClient, host: Host, scripted: ScriptedAgent
) -> None:
    events: list[event_pb2.RunEvent] = []
    async for event in client.stream("scripted", "hello"):
        events.append(event)
        script = scripted.script(event.run_id)
        if event.HasField("run_started") and event.attempt == 1:
            script.say(TextDelta("before "))
        elif event.HasField("text_delta") and event.attempt == 1:
            await host.crash()
            await host.start()
        elif event.HasField("run_started"):
            script.say(TextDelta("after"))
            script.end()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert text_of_events(events) == "before after"
    assert kinds(events)[-1] == "run_completed"
    assert events[-1].attempt == 2
    assert [event async for event in client.follow(events[0].run_id)] == events


async def test_without_asyncio_a_stream_goes_on_too(host: Host, scripted: ScriptedAgent) -> None:
    seen: asyncio.Queue[event_pb2.RunEvent | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> list[event_pb2.RunEvent]:
        events = []
        with Client(host.target, reconnect_seconds=PATIENCE) as client:
            for event in client.stream("scripted", "hello"):
                events.append(event)
                loop.call_soon_threadsafe(seen.put_nowait, event)
        return events

    reading = asyncio.create_task(asyncio.to_thread(read))
    while (event := await seen.get()) is not None:
        script = scripted.script(event.run_id)
        if event.HasField("run_started"):
            script.say(TextDelta(f"{event.attempt} "))
        elif event.HasField("text_delta"):
            if event.attempt == 2:
                script.end()
                break
            await host.crash()
            await host.start()
    events = await reading
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (text_of_events(events), kinds(events)[-1]) == ("1 2 ", "run_completed")


async def test_a_server_that_does_not_come_back_is_given_up(host: Host, scripted: ScriptedAgent) -> None:
    async with AsyncClient(host.target, reconnect_seconds=0.2) as client:
        events = client.stream("scripted", "hello")
        await anext(events)
        await host.crash()
        with pytest.raises(BreezewayError) as caught:
            [event async for event in events]
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    await host.start()


async def test_leaving_a_stream_leaves_the_run_unless_it_is_to_be_cancelled(
    client: AsyncClient, host: Host, scripted: ScriptedAgent
) -> None:
    kept = client.stream("scripted", "hello")
    run_id = (await anext(kept)).run_id
    await kept.aclose()
    script = scripted.script(run_id)
    script.say(TextDelta("alone"))
    script.end()
    assert (await host.stack.ended(run_id)).state == run_pb2.RUN_STATE_COMPLETED
    policy = stream_service_pb2.DISCONNECT_POLICY_CANCEL
    cancelled = client.stream("scripted", "hello", on_disconnect=policy)
    run_id = (await anext(cancelled)).run_id
    await cancelled.aclose()
    assert [event async for event in client.follow(run_id)][-1].HasField("run_cancelled")


async def test_runs_are_created_listed_cancelled_and_deleted(client: AsyncClient) -> None:
    first = await client.create("scripted", "one", request_id="once")
    assert (await client.create("scripted", "one", request_id="once")).id == first.id
    second = await client.create("scripted", "two")
    assert [run.id async for run in client.list_runs()] == [second.id, first.id]
    query = run_service_pb2.ListRunsRequest(page_size=1, ascending=True)
    assert [run.id async for run in client.list_runs(query)] == [first.id, second.id]
    assert (await client.cancel(first.id)).state == run_pb2.RUN_STATE_CANCELLED
    await client.delete(first.id)
    assert [run.id async for run in client.list_runs()] == [second.id]


async def test_an_error_says_why(client: AsyncClient) -> None:
    with pytest.raises(BreezewayError) as nothing:
        await client.get("run_019a3e5c7d0070008000000000000011")
    assert (nothing.value.code, nothing.value.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
    with pytest.raises(BreezewayError) as nobody:
        await client.run("nobody", "hello")
    assert nobody.value.reason == "AGENT_NOT_FOUND"
    with pytest.raises(BreezewayError) as wrong:
        await client.create("plain", "hello", spec=run_pb2.RunSpec(sampling=run_pb2.Sampling(temperature=9)))
    assert (wrong.value.code, wrong.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "spec.sampling.temperature")
    run = await client.run("plain", "hello")
    with pytest.raises(BreezewayError) as no_approval:
        await client.resolve_approval(run.id, item_pb2.APPROVAL_DECISION_ONCE)
    assert no_approval.value.reason in {"APPROVAL_NOT_FOUND", "APPROVAL_ALREADY_RESOLVED"}


async def test_conversations_and_agents(client: AsyncClient) -> None:
    assert [agent.name for agent in await client.agents()] == ["plain", "scripted"]
    made = await client.create_conversation("mine", metadata={"a": "b"})
    assert await client.get_conversation("mine") == made
    await client.run("plain", "hello", spec=run_pb2.RunSpec(conversation_id="mine"))
    items = [item async for item in client.list_conversation_items("mine")]
    assert texts(items) == ["hello", "one two"]
    assert [conversation.id async for conversation in client.list_conversations()] == ["mine"]
    await client.delete_conversation("mine")
    assert [conversation.id async for conversation in client.list_conversations()] == []


async def test_without_asyncio_the_calls_are_the_same(host: Host) -> None:
    def work() -> None:
        with Client(host.target) as client:
            run = client.run("plain", "hello")
            assert texts(run.output) == ["one two"]
            assert client.get(run.id) == run
            assert [found.id for found in client.list_runs()] == [run.id]
            events = list(client.follow(run.id))
            assert list(client.follow(run.id, after=2)) == events[2:]
            made = client.create("scripted", "hello", spec=run_pb2.RunSpec(conversation_id="mine"))
            assert client.cancel(made.id).state == run_pb2.RUN_STATE_CANCELLED
            assert [agent.name for agent in client.agents()] == ["plain", "scripted"]
            assert client.get_conversation("mine") == next(client.list_conversations())
            assert texts(list(client.list_conversation_items("mine"))) == ["hello"]
            client.create_conversation("yours")
            client.delete_conversation("yours")
            client.delete(run.id)
            with pytest.raises(BreezewayError) as gone:
                client.get(run.id)
            assert gone.value.reason == "RUN_NOT_FOUND"
            with pytest.raises(BreezewayError):
                client.resolve_approval(made.id, item_pb2.APPROVAL_DECISION_DENY)

    await asyncio.to_thread(work)


def test_both_clients_have_the_same_calls() -> None:
    assert [name for name in vars(AsyncClient) if name[0] != "_"] == [name for name in vars(Client) if name[0] != "_"]


async def test_a_server_that_is_lost_is_told_of_once_each_time(host: Host, scripted: ScriptedAgent) -> None:
    told: list[int] = []
    events: list[event_pb2.RunEvent] = []
    async with AsyncClient(host.target, on_lost=lambda: told.append(len(events))) as client:
        async for event in client.stream("scripted", "hello"):
            events.append(event)
            script = scripted.script(event.run_id)
            if event.HasField("run_started") and event.attempt < 3:
                script.say(TextDelta("more "))
            elif event.HasField("run_started"):
                script.end()
            elif event.HasField("text_delta"):
                await host.crash()
                await host.start()
    assert len(told) == 2
    assert kinds(events)[-1] == "run_completed"


async def test_nobody_waits_for_a_server_without_patience(tmp_path: Path) -> None:
    with ReservedPort.reserved() as port:
        async with AsyncClient(f"127.0.0.1:{port.number}", reconnect_seconds=0) as client:
            with pytest.raises(BreezewayError) as caught:
                await client.get("run_1")
        sync_client = Client(f"127.0.0.1:{port.number}", reconnect_seconds=0)
        with sync_client, pytest.raises(BreezewayError) as caught_too:
            sync_client.get("run_1")
    assert caught.value.code is caught_too.value.code is grpc.StatusCode.UNAVAILABLE
