"""MultiplexRuns over a real channel: many runs over one call, each as if it had a call of its own."""

from collections import defaultdict
from typing import Any

import grpc
import pytest
from breezeway.v1 import event_pb2, run_pb2, stream_service_pb2
from breezeway_server.agents.steps import TextDelta
from google.rpc import error_details_pb2, status_pb2

from tests.server.services.conftest import Client
from tests.support.agents import said
from tests.support.clock import HeldClock
from tests.support.server import ScriptedAgent, Stack, kinds, text_of_events

Request = stream_service_pb2.MultiplexRunsRequest
CANCEL = stream_service_pb2.DISCONNECT_POLICY_CANCEL
ITEMS = stream_service_pb2.STREAM_DETAIL_ITEMS
OK = status_pb2.Status()


class Multiplexed:
    """One call, and what has come for each tag."""

    def __init__(self, client: Client) -> None:
        self.call: Any = client.streams.MultiplexRuns()
        self.events: defaultdict[int, list[event_pb2.RunEvent]] = defaultdict(list)
        self.ends: dict[int, status_pb2.Status] = {}

    async def start(
        self, *tags: int, agent: str = "scripted", policy: Any = CANCEL, durability: Any = None, **fields: Any
    ) -> None:
        run = stream_service_pb2.StreamRunRequest(
            spec=run_pb2.RunSpec(agent=agent, durability=durability),
            input=[said("hello")],
            on_disconnect=policy,
            **fields,
        )
        await self.call.write(Request(starts=[stream_service_pb2.MultiplexStart(tag=tag, run=run) for tag in tags]))

    async def stop(self, tag: int, *, disconnected: bool) -> None:
        stop = stream_service_pb2.MultiplexStop(tag=tag, disconnected=disconnected)
        await self.call.write(Request(stops=[stop]))

    async def read(self) -> None:
        response = await self.call.read()
        assert response, "the call has not ended"
        assert response.batches
        for batch in response.batches:
            assert batch.tag not in self.ends, "nothing comes after the end of a tag"
            self.events[batch.tag] += batch.events
            if batch.HasField("end"):
                self.ends[batch.tag] = batch.end

    async def run_id(self, tag: int) -> str:
        while not self.events[tag]:
            await self.read()
        return self.events[tag][0].run_id

    async def end(self, tag: int) -> status_pb2.Status:
        while tag not in self.ends:
            await self.read()
        return self.ends[tag]


@pytest.fixture
def multiplexed(client: Client) -> Multiplexed:
    return Multiplexed(client)


async def test_every_tag_gets_its_own_run(multiplexed: Multiplexed, stack: Stack, agent: ScriptedAgent) -> None:
    tags = list(range(1, 31))
    await multiplexed.start(*tags)
    for tag in tags:
        run_id = await multiplexed.run_id(tag)
        agent.script(run_id).say(*[TextDelta(run_id)] * 5)
        agent.script(run_id).end()
    for tag in tags:
        assert await multiplexed.end(tag) == OK
        run_id = multiplexed.events[tag][0].run_id
        assert multiplexed.events[tag] == await stack.events(run_id)
        assert text_of_events(multiplexed.events[tag]) == run_id * 5
    await multiplexed.call.done_writing()
    assert await multiplexed.call.read() == grpc.aio.EOF
    assert await multiplexed.call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize("durability", [run_pb2.DURABILITY_MEMORY, run_pb2.DURABILITY_LOGGED])
async def test_the_first_words_of_a_run_do_not_wait_for_those_of_others(
    multiplexed: Multiplexed, agent: ScriptedAgent, durability: run_pb2.Durability.ValueType
) -> None:
    await multiplexed.start(1, durability=durability)
    agent.script(await multiplexed.run_id(1)).say(*[TextDelta("x")] * 2000)
    while len(text_of_events(multiplexed.events[1])) < 2000:
        await multiplexed.read()
    await multiplexed.start(2, durability=durability)
    script = agent.script(await multiplexed.run_id(2))
    await script.begun.wait()
    with HeldClock.held():
        # No timer goes off, so none is waited for.
        script.say(TextDelta("first"))
        while not text_of_events(multiplexed.events[2]):
            await multiplexed.read()


async def test_a_start_that_cannot_be_ends_its_tag_alone(multiplexed: Multiplexed, agent: ScriptedAgent) -> None:
    await multiplexed.start(1)
    await multiplexed.start(2, agent="nobody")
    end = await multiplexed.end(2)
    assert end.code == grpc.StatusCode.NOT_FOUND.value[0]
    info = error_details_pb2.ErrorInfo()
    assert end.details[0].Unpack(info)
    assert info.reason == "AGENT_NOT_FOUND"
    agent.script(await multiplexed.run_id(1)).end()
    assert await multiplexed.end(1) == OK


@pytest.mark.parametrize("disconnected", [True, False])
async def test_a_tag_that_is_stopped_is_cancelled_only_where_its_client_is_gone(
    multiplexed: Multiplexed, stack: Stack, agent: ScriptedAgent, disconnected: bool
) -> None:
    await multiplexed.start(1, 2)
    gone, other = await multiplexed.run_id(1), await multiplexed.run_id(2)
    await agent.script(gone).begun.wait()
    await multiplexed.stop(1, disconnected=disconnected)
    await multiplexed.stop(99, disconnected=disconnected)
    agent.script(other).say(TextDelta("still here"))
    agent.script(other).end()
    assert await multiplexed.end(2) == OK
    if disconnected:
        assert kinds(await stack.events(gone))[-1] == "run_cancelled"
    else:
        agent.script(gone).end()
        assert kinds(await stack.events(gone))[-1] == "run_completed"


async def test_a_caller_that_goes_away_takes_its_runs_along(
    multiplexed: Multiplexed, stack: Stack, agent: ScriptedAgent
) -> None:
    await multiplexed.start(1)
    await multiplexed.start(2, policy=stream_service_pb2.DISCONNECT_POLICY_CONTINUE)
    cancelled, kept = await multiplexed.run_id(1), await multiplexed.run_id(2)
    multiplexed.call.cancel()
    assert kinds(await stack.events(cancelled))[-1] == "run_cancelled"
    agent.script(kept).end()
    assert kinds(await stack.events(kept))[-1] == "run_completed"


async def test_a_repeated_start_follows_the_run_that_is_there(multiplexed: Multiplexed, agent: ScriptedAgent) -> None:
    await multiplexed.start(1, request_id="key")
    run_id = await multiplexed.run_id(1)
    await multiplexed.start(2, request_id="key")
    assert await multiplexed.run_id(2) == run_id
    agent.script(run_id).end()
    assert [await multiplexed.end(tag) for tag in (1, 2)] == [OK, OK]
    assert multiplexed.events[1] == multiplexed.events[2]
    await multiplexed.start(3, request_id="key")
    assert (await multiplexed.end(3)).code == grpc.StatusCode.ABORTED.value[0], "to be asked for in a call of its own"


async def test_items_alone(multiplexed: Multiplexed, agent: ScriptedAgent) -> None:
    await multiplexed.start(1, detail=ITEMS)
    script = agent.script(await multiplexed.run_id(1))
    script.say(TextDelta("a"), TextDelta("b"))
    script.end()
    assert await multiplexed.end(1) == OK
    assert kinds(multiplexed.events[1]) == [
        "run_queued",
        "run_started",
        "item_started",
        "item_completed",
        "run_completed",
    ]


async def test_a_run_that_is_only_collected_and_kept_in_memory_comes_at_its_end(
    multiplexed: Multiplexed, stack: Stack, agent: ScriptedAgent
) -> None:
    await multiplexed.start(1, detail=ITEMS, durability=run_pb2.DURABILITY_MEMORY)
    await multiplexed.start(2)
    # The second has begun, so the first has; one message has what is ready for all.
    other = await multiplexed.run_id(2)
    await stack.seen(other, "run_started")
    [run_id] = [run.run_id for run in stack.supervisor.under_way if run.run_id != other]
    assert not multiplexed.events[1]
    script = agent.script(run_id)
    script.say(TextDelta("a"))
    script.end()
    assert await multiplexed.end(1) == OK
    assert kinds(multiplexed.events[1])[-2:] == ["item_completed", "run_completed"]
    assert [event.sequence for event in multiplexed.events[1]][:2] == [1, 2]


async def test_a_server_that_stops_says_so_for_every_tag(multiplexed: Multiplexed, stack: Stack) -> None:
    await multiplexed.start(1, 2)
    for tag in (1, 2):
        await stack.seen(await multiplexed.run_id(tag), "run_started")
    await stack.supervisor.drain(0)
    for tag in (1, 2):
        assert (await multiplexed.end(tag)).code == grpc.StatusCode.UNAVAILABLE.value[0]
