"""StreamService over a real channel: whole batches, exact cursors, and what leaving means."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway.v1 import event_pb2, run_pb2, run_service_pb2, stream_service_pb2
from breezeway_server.agents.steps import TextDelta
from breezeway_server.events.legal import DELTA_KINDS

from tests.server.services.conftest import Client
from tests.server.services.statuses import Refusal, refusal_of
from tests.support.agents import said
from tests.support.server import PlainAgent, ScriptedAgent, Stack, kinds, running, serving, text_of_events

Stream = stream_service_pb2.StreamRunRequest
Follow = stream_service_pb2.FollowRunRequest
ITEMS = stream_service_pb2.STREAM_DETAIL_ITEMS
CANCEL, CONTINUE = stream_service_pb2.DISCONNECT_POLICY_CANCEL, stream_service_pb2.DISCONNECT_POLICY_CONTINUE
UNSAID = stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED
LOGGED, MEMORY = run_pb2.DURABILITY_LOGGED, run_pb2.DURABILITY_MEMORY
NOWHERE = "run_" + "0" * 32


def wanted(
    agent: str = "scripted", *, request_id: str = "", detail: Any = 0, policy: Any = 0, **spec: object
) -> Stream:
    made = run_pb2.RunSpec(agent=agent, **spec)  # type: ignore[arg-type] # the fields of the message, by name
    return Stream(spec=made, input=[said("hello")], request_id=request_id, detail=detail, on_disconnect=policy)


async def events_of(call: Any) -> list[event_pb2.RunEvent]:
    """The events of a stream from here to its end."""
    events: list[event_pb2.RunEvent] = []
    while response := await call.read():
        events += response.events
    return events


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await events_of(call)
    return refusal_of(raised.value)


async def first(call: Any) -> event_pb2.RunEvent:
    """The run's first event. Others that came with it are lost."""
    response = await call.read()
    event: event_pb2.RunEvent = response.events[0]
    return event


async def test_a_run_is_streamed_as_it_happens(client: Client, agent: ScriptedAgent) -> None:
    call: Any = client.streams.StreamRun(wanted())
    events = list((await call.read()).events)
    run_id = events[0].run_id
    for word in ("one ", "two"):
        agent.script(run_id).say(TextDelta(word))
        while word not in text_of_events(events):
            events += (await call.read()).events
    agent.script(run_id).end()
    events += await events_of(call)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert kinds(events)[-1] == "run_completed"
    assert await events_of(client.streams.FollowRun(Follow(run_id=run_id))) == events


async def test_what_is_ready_comes_in_one_message(tmp_path: Path) -> None:
    eager = PlainAgent("scripted", *[TextDelta("x")] * 100)
    async with running(tmp_path, eager) as stack, serving(stack) as channel:
        client = Client.of(channel)
        run_id = await stack.create()
        await stack.settled(run_id)
        responses = [response async for response in client.streams.FollowRun(Follow(run_id=run_id))]
        assert len(responses) == 1
        assert len(responses[0].events) == 105


@pytest.mark.parametrize("durability", [LOGGED, MEMORY])
@pytest.mark.parametrize("over", [True, False])
async def test_every_cursor_gets_exactly_the_rest(
    client: Client, stack: Stack, agent: ScriptedAgent, durability: Any, over: bool
) -> None:
    run_id = await stack.create(durability=durability)
    agent.script(run_id).say(TextDelta("a"), TextDelta("b"))
    await stack.seen(run_id, "text_delta", count=2)
    count = (await stack.get(run_id)).last_sequence
    if over:
        agent.script(run_id).end()
        await stack.settled(run_id)
        count = (await stack.get(run_id)).last_sequence
    calls = [
        asyncio.ensure_future(events_of(client.streams.FollowRun(Follow(run_id=run_id, after_sequence=after))))
        for after in range(count + 1)
    ]
    ahead = await refused(client.streams.FollowRun(Follow(run_id=run_id, after_sequence=count + 1)))
    assert (ahead.code, ahead.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_AHEAD")
    if not over:
        agent.script(run_id).end()
    events = await stack.events(run_id)
    for after, call in enumerate(calls):
        assert await call == events[after:]


@pytest.mark.parametrize("live", [True, False])
async def test_items_alone_are_the_same_run_without_its_deltas(
    client: Client, stack: Stack, agent: ScriptedAgent, live: bool
) -> None:
    call = client.streams.StreamRun(wanted(detail=ITEMS))
    run_id = (await first(call)).run_id
    agent.script(run_id).say(TextDelta("a"), TextDelta("b"))
    if live:
        await stack.seen(run_id, "text_delta", count=2)
    agent.script(run_id).end()
    await events_of(call)
    events = await events_of(client.streams.FollowRun(Follow(run_id=run_id, detail=ITEMS)))
    whole = await stack.events(run_id)
    assert events == [event for event in whole if event.WhichOneof("kind") not in DELTA_KINDS]
    assert len(events) < len(whole)


async def test_a_run_that_fails_ends_its_stream_well(client: Client, agent: ScriptedAgent) -> None:
    call = client.streams.StreamRun(wanted())
    run_id = (await first(call)).run_id
    agent.script(run_id).fail(ValueError("a bug"))
    assert kinds(await events_of(call))[-1] == "run_failed"
    assert await call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (wanted("nobody"), grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND"),
        (wanted(sampling=run_pb2.Sampling(top_p=2)), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
        (wanted(previous_run_id=NOWHERE), grpc.StatusCode.NOT_FOUND, "PREVIOUS_RUN_NOT_FOUND"),
        (wanted(conversation_id="conv_x"), grpc.StatusCode.NOT_FOUND, "CONVERSATION_NOT_FOUND"),
    ],
)
async def test_a_stream_that_cannot_begin(client: Client, request_: Stream, code: grpc.StatusCode, reason: str) -> None:
    refusal = await refused(client.streams.StreamRun(request_))
    assert (refusal.code, refusal.reason) == (code, reason)


@pytest.mark.parametrize("run_id", [NOWHERE, "nonsense", ""])
async def test_a_run_that_is_not_there_cannot_be_followed(client: Client, run_id: str) -> None:
    refusal = await refused(client.streams.FollowRun(Follow(run_id=run_id)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")


async def test_events_that_were_forgotten(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, log_seconds=0) as stack, serving(stack) as channel:
        run_id = await stack.create()
        agent.script(run_id).end()
        await stack.settled(run_id)
        await stack.supervisor.sweeper.expire()
        refusal = await refused(Client.of(channel).streams.FollowRun(Follow(run_id=run_id, after_sequence=1)))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED")


async def test_a_server_that_stops_says_come_back(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent) as stack, serving(stack) as channel:
        call = Client.of(channel).streams.StreamRun(wanted())
        event = await first(call)
        await stack.seen(event.run_id, "run_started")
        await stack.supervisor.drain(0)
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
        assert refusal.retry_after == 1.0


@pytest.mark.parametrize(
    ("policy", "durability", "request_id", "cancels"),
    [
        (CANCEL, LOGGED, "", True),
        (CANCEL, MEMORY, "", True),
        (CONTINUE, LOGGED, "", False),
        (CONTINUE, MEMORY, "", False),
        (UNSAID, LOGGED, "", False),
        (UNSAID, MEMORY, "", True),
        (UNSAID, MEMORY, "key", False),
        (CANCEL, MEMORY, "key", True),
    ],
)
async def test_what_leaving_means(
    client: Client, stack: Stack, agent: ScriptedAgent, policy: Any, durability: Any, request_id: str, cancels: bool
) -> None:
    call = client.streams.StreamRun(wanted(policy=policy, durability=durability, request_id=request_id))
    run_id = (await first(call)).run_id
    await agent.script(run_id).begun.wait()
    call.cancel()
    if cancels:
        assert kinds(await stack.events(run_id))[-1] == "run_cancelled"
        assert agent.script(run_id).closed.is_set()
        return
    # The server has heard of it when it has heard of what was sent behind it on the same connection.
    await client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id))
    agent.script(run_id).end()
    assert kinds(await stack.events(run_id))[-1] == "run_completed"


async def test_a_follower_that_leaves_changes_nothing(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(durability=MEMORY)
    call = client.streams.FollowRun(Follow(run_id=run_id))
    await first(call)
    call.cancel()
    await client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id))
    agent.script(run_id).end()
    assert kinds(await stack.events(run_id))[-1] == "run_completed"


async def test_a_repeated_stream_follows_the_run_that_is_there(client: Client, agent: ScriptedAgent) -> None:
    calls = [client.streams.StreamRun(wanted(request_id="key")) for _ in range(5)]
    run_ids = {(await first(call)).run_id for call in calls}
    assert len(run_ids) == 1
    agent.script(*run_ids).say(TextDelta("once"))
    agent.script(*run_ids).end()
    for call in calls:
        assert text_of_events(await events_of(call)) == "once"
    again = await events_of(client.streams.StreamRun(wanted(request_id="key")))
    assert text_of_events(again) == "once"
    refusal = await refused(client.streams.StreamRun(wanted(request_id="key", instructions="other")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_many_streams_carry_their_own(client: Client, agent: ScriptedAgent) -> None:
    calls = [client.streams.StreamRun(wanted()) for _ in range(50)]
    run_ids = [(await first(call)).run_id for call in calls]
    for run_id in run_ids:
        agent.script(run_id).say(*(TextDelta(run_id) for _ in range(5)))
        agent.script(run_id).end()
    for run_id, events in zip(run_ids, await asyncio.gather(*map(events_of, calls)), strict=True):
        assert text_of_events(events) == run_id * 5
        assert {event.run_id for event in events} == {run_id}


async def test_a_large_answer_is_streamed(tmp_path: Path) -> None:
    eager = PlainAgent("scripted", *[TextDelta("x" * 100_000)] * 30)
    async with running(tmp_path, eager, output_bytes=10_000_000) as stack, serving(stack) as channel:
        events = await events_of(Client.of(channel).streams.StreamRun(wanted()))
        assert len(text_of_events(events)) == 3_000_000
        assert kinds(events)[-1] == "run_completed"


async def test_a_fault_of_ours_in_a_stream_keeps_its_text(
    client: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object, **_kwargs: object) -> AsyncIterator[bytes]:
        yield b""
        raise ValueError("the key is sk-secret")

    monkeypatch.setattr(stack.supervisor, "follow", broken)
    refusal = await refused(client.streams.FollowRun(Follow(run_id=NOWHERE)))
    assert refusal.code == grpc.StatusCode.INTERNAL
    assert "secret" not in refusal.message
