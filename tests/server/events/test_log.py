"""The log: durable before visible, cursors instead of queues, and what becomes of readers when it breaks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from breezeway.v1 import event_pb2
from breezeway_server.errors import CursorExpired, Unavailable
from breezeway_server.events import log as log_module
from breezeway_server.events.framing import decode
from breezeway_server.events.legal import DELTA_KINDS
from breezeway_server.events.log import EventLog
from breezeway_server.events.run_log import BATCH_BYTES, Fenced

from tests.server.events.fakes import FakeLogStore, Writing, read
from tests.support.clock import HeldClock
from tests.support.patience import PATIENCE

RUN = "run_019a3e5c7d0070008000000000000001"
OTHER = "run_019a3e5c7d0070008000000000000002"


@pytest.fixture
def store() -> FakeLogStore:
    return FakeLogStore()


@asynccontextmanager
async def writing(store: FakeLogStore, patience: float = 0) -> AsyncIterator[EventLog]:
    """A log whose writer runs."""
    log = EventLog(store, patience=patience)
    writer = asyncio.create_task(log.write())
    try:
        yield log
    finally:
        writer.cancel()
        await asyncio.wait([writer])


@pytest.fixture
async def log(store: FakeLogStore) -> AsyncIterator[EventLog]:
    async with writing(store) as log:
        yield log


async def test_a_lone_event_is_visible_at_once(log: EventLog, store: FakeLogStore) -> None:
    run = Writing(log, RUN)
    run.begin()
    await run.run_log.reach(3)
    run.say("x")
    with HeldClock.held():
        # No timer goes off, so none is waited for.
        await run.run_log.reach(4)
    assert [event.sequence for event in await read_some(log, 4)] == [1, 2, 3, 4]


async def test_the_beginning_of_an_answer_that_is_awaited_does_not_wait_under_load(log: EventLog) -> None:
    busy, run = Writing(log, OTHER), Writing(log, RUN)
    busy.begin()
    for _ in range(500):
        busy.say("x")
    await busy.run_log.reach(503)
    run.run_log.await_answer()
    with HeldClock.held():
        run.begin()
        await run.run_log.reach(3)


async def read_some(log: EventLog, last: int, *, after: int = 0, run_id: str = RUN) -> list[event_pb2.RunEvent]:
    """Events above `after` up to `last`, as they come."""
    found: list[event_pb2.RunEvent] = []
    batches = log.follow(run_id, after=after)
    async for frames in batches:
        found += decode(frames)
        if found[-1].sequence >= last:
            break
    await batches.aclose()
    return found


async def test_nothing_is_visible_before_the_store_has_returned(log: EventLog, store: FakeLogStore) -> None:
    store.open.clear()
    run = Writing(log, RUN)
    run.begin()
    follower = asyncio.create_task(read(log.follow(RUN)))
    await store.arrived.wait()
    run.end()
    assert run.run_log.visible == 0
    assert not follower.done()
    store.open.set()
    assert await follower == run.events


async def test_the_next_group_gathers_while_one_is_under_way(log: EventLog, store: FakeLogStore) -> None:
    store.open.clear()
    first, second = Writing(log, RUN), Writing(log, OTHER)
    first.begin()
    await store.arrived.wait()
    for _ in range(20):
        first.say("x")
    second.begin()
    second.end()
    first.end()
    store.open.set()
    await log.flush()
    assert [[(each.run_id, each.first, each.last) for each in group] for group in store.groups] == [
        [(RUN, 1, 3)],
        [(RUN, 4, 25), (OTHER, 1, 5)],
    ]
    last = store.groups[1][0]
    assert [item.id for item in last.items] == [first.events[-2].item_completed.item.id]
    assert last.result is not None
    assert last.new is None
    assert store.groups[0][0].new is not None


async def test_all_followers_get_the_same(log: EventLog) -> None:
    run = Writing(log, RUN)
    followers = [asyncio.create_task(read(log.follow(RUN))) for _ in range(50)]
    run.begin()
    for word in ("a", "b", "c"):
        run.say(word)
        await run.run_log.reach(run.run_log.last)
    run.end()
    for got in await asyncio.gather(*followers):
        assert got == run.events


@pytest.mark.parametrize("logged", [True, False], ids=["logged", "memory"])
@pytest.mark.parametrize("closed", [False, True], ids=["live", "from the store"])
async def test_a_cursor_is_exact_wherever_it_stands(
    log: EventLog, store: FakeLogStore, logged: bool, closed: bool
) -> None:
    if closed and not logged:
        return
    run = Writing(log, RUN, logged=logged)
    run.begin()
    for word in ("a", "b", "c"):
        run.say(word)
        await log.flush()
    run.end()
    await log.flush()
    if closed:
        log.close(run.run_log)
    for after in range(len(run.events)):
        assert await read(log.follow(RUN, after=after)) == run.events[after:]
        milestones = [event for event in run.events[after:] if event.WhichOneof("kind") not in DELTA_KINDS]
        assert await read(log.follow(RUN, after=after, milestones=True)) == milestones
    assert bool(store.reads) is closed


async def test_a_memory_run_is_visible_without_the_store(store: FakeLogStore) -> None:
    # No writer runs at all.
    log = EventLog(store, patience=0)
    run = Writing(log, RUN, logged=False)
    run.begin()
    assert run.run_log.visible == 3
    run.end()
    assert await read(log.follow(RUN)) == run.events
    assert not store.groups
    assert run.run_log.backlog == 0


async def test_a_slow_follower_of_a_long_run_falls_back_to_the_store(log: EventLog, store: FakeLogStore) -> None:
    run = Writing(log, RUN)
    run.begin()
    slow = log.follow(RUN)
    got = list(decode(await anext(slow)))
    size = 0
    while size < 3 * log_module._KEEP_BYTES:
        run.say("x" * 50_000)
        size += 50_000
        await log.flush()
    assert run.run_log.first > 4, "the oldest frames are forgotten"
    assert run.run_log.size <= log_module._KEEP_BYTES
    run.end()
    await log.flush()
    assert run.run_log.backlog == 0
    batches = 0
    async for frames in slow:
        batches += 1
        events = decode(frames)
        # The end of a long item is long itself.
        assert len(frames) <= BATCH_BYTES + 60_000 or any(event.HasField("item_completed") for event in events)
        got += events
    assert got == run.events
    assert store.reads, "the store was asked"
    assert batches > 10
    # A fast one that comes late gets the newest from memory.
    store.reads.clear()
    assert await read(log.follow(RUN, after=len(run.events) - 1)) == run.events[-1:]
    assert not store.reads


async def test_what_is_not_durable_is_never_forgotten(log: EventLog, store: FakeLogStore) -> None:
    store.open.clear()
    run = Writing(log, RUN)
    run.begin()
    await store.arrived.wait()
    for _ in range(40):
        run.say("x" * 50_000)
    assert run.run_log.first == 1
    assert run.run_log.backlog == run.run_log.size > log_module._KEEP_BYTES
    run.end()
    store.open.set()
    await log.flush()
    assert await read(log.follow(RUN)) == run.events


async def test_a_batch_has_one_event_at_least(log: EventLog) -> None:
    run = Writing(log, RUN, logged=False)
    run.begin()
    run.say("x" * (2 * BATCH_BYTES))
    run.say("y" * (2 * BATCH_BYTES))
    run.end()
    sizes = [len(decode(frames)) async for frames in log.follow(RUN)]
    assert sizes == [4, 1, 1, 1]


async def test_a_store_that_fails_is_tried_again(store: FakeLogStore) -> None:
    async with writing(store, patience=PATIENCE) as log:
        store.faults = 2
        run = Writing(log, RUN)
        run.begin()
        run.end()
        assert await read(log.follow(RUN)) == run.events
    assert store.tries == 3
    assert len(store.groups) == 1


async def test_a_store_that_stays_away_ends_readers_with_the_error(log: EventLog, store: FakeLogStore) -> None:
    run = Writing(log, RUN)
    run.begin()
    got = await read_some(log, 3)
    store.faults = 1
    run.say("lost")
    follower = asyncio.create_task(read(log.follow(RUN, after=len(got))))
    with pytest.raises(Unavailable) as raised:
        await follower
    assert raised.value.reason == "STORE_UNAVAILABLE"
    with pytest.raises(Unavailable):
        run.say("more")
    with pytest.raises(Unavailable):
        await run.run_log.reach(99)
    # Whoever comes now gets what is durable, and then the error.
    late = log.follow(RUN)
    assert len(decode(await anext(late))) == 3
    with pytest.raises(Unavailable):
        await anext(late)
    # Other runs are not harmed.
    other = Writing(log, OTHER)
    other.begin()
    other.end()
    assert await read(log.follow(OTHER)) == other.events


async def test_a_fenced_run_stops_and_the_others_of_its_group_do_not(log: EventLog, store: FakeLogStore) -> None:
    store.open.clear()
    run, other = Writing(log, RUN), Writing(log, OTHER)
    run.begin()
    other.begin()
    other.end()
    store.fenced.add(RUN)
    reader = asyncio.create_task(read(log.follow(RUN)))
    await store.arrived.wait()
    store.open.set()
    with pytest.raises(Unavailable) as raised:
        await reader
    assert isinstance(raised.value, Fenced)
    assert raised.value.reason == "RUN_NOT_HERE", "readers may come back, where the other attempt is"
    with pytest.raises(Fenced):
        run.say("more")
    assert await read(log.follow(OTHER)) == other.events


async def test_a_run_that_nobody_here_holds_is_followed_from_the_store_and_then_unavailable(
    log: EventLog, store: FakeLogStore
) -> None:
    run = Writing(log, RUN)
    run.begin()
    await log.flush()
    log.close(run.run_log)
    batches = log.follow(RUN)
    assert len(decode(await anext(batches))) == 3
    with pytest.raises(Unavailable) as raised:
        await anext(batches)
    assert raised.value.reason == "RUN_NOT_HERE"


async def test_a_cursor_below_what_is_kept_is_an_explicit_error(log: EventLog, store: FakeLogStore) -> None:
    run = Writing(log, RUN)
    run.begin()
    await log.flush()
    run.end()
    await log.flush()
    log.close(run.run_log)
    del store.kept[RUN][0]
    with pytest.raises(CursorExpired):
        await read(log.follow(RUN, after=2))
    assert await read(log.follow(RUN, after=3)) == run.events[3:]


async def test_a_follower_that_leaves_leaves_nothing_behind(log: EventLog) -> None:
    run = Writing(log, RUN)
    run.begin()
    await log.flush()
    followers = [asyncio.create_task(read(log.follow(RUN, after=3))) for _ in range(5)]
    await asyncio.sleep(0)  # one round of the loop: each of them begins to wait
    assert len(run.run_log._waiters) == 5
    for follower in followers[1:]:
        follower.cancel()
    await asyncio.wait(followers[1:])
    assert len(run.run_log._waiters) == 1
    run.end()
    assert await followers[0] == run.events[3:]
    assert not run.run_log._waiters


async def test_readers_of_a_closed_log_go_on_to_its_end(log: EventLog) -> None:
    run = Writing(log, RUN)
    run.begin()
    follower = asyncio.create_task(read(log.follow(RUN)))
    await log.flush()
    log.close(run.run_log)
    run.end()
    assert await follower == run.events


async def test_closing_an_old_log_leaves_its_successor(log: EventLog) -> None:
    old = Writing(log, RUN)
    new = Writing(log, RUN)
    log.close(old.run_log)
    new.begin()
    new.end()
    assert await read(log.follow(RUN)) == new.events


async def test_a_watcher_hears_of_news_and_of_failure_until_it_leaves(log: EventLog, store: FakeLogStore) -> None:
    run = Writing(log, RUN)
    heard: list[int] = []

    def watcher() -> None:
        heard.append(run.run_log.visible)

    run.run_log.watch(watcher)
    run.begin()
    await log.flush()
    assert heard == [3]
    store.faults = 1
    run.say("lost")
    with pytest.raises(Unavailable):
        await run.run_log.reach(4)
    assert heard == [3, 3]
    run.run_log.unwatch(watcher)
    run.run_log.fail(Fenced(RUN))
    assert heard == [3, 3]
