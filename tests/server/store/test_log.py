"""The log in a store: atomic, fenced, read in pieces, and forgotten in time."""

from collections.abc import Sequence

import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway_server.errors import CursorExpired
from breezeway_server.events.framing import decode
from breezeway_server.store.base import RunFilter, Store
from structlog.testing import capture_logs

from tests.server.store.builders import NOW, StoredRun, append, begun, ended
from tests.support.logs import START_SECONDS

EVERYTHING = 10**9


async def stored(store: Store, run_id: str, after: int = 0) -> list[event_pb2.RunEvent]:
    batches = await store.read_events(run_id, after, EVERYTHING)
    return [event for batch in batches for event in decode(batch.frames)]


async def test_what_was_appended_is_read_again(store: Store) -> None:
    run = await begun(store)
    assert await stored(store, run.id) == run.events
    run.say("more")
    await append(store, run)
    assert await stored(store, run.id) == run.events
    run.writer.completed(run_pb2.Usage())
    await append(store, run)
    assert await stored(store, run.id) == run.events


async def test_many_runs_are_written_together(store: Store) -> None:
    runs = [StoredRun(text=str(number)) for number in range(40)]
    await append(store, *runs)
    for run in runs:
        run.writer.started()
        run.say("x")
    await append(store, *runs)
    for run in runs:
        assert await stored(store, run.id) == run.events
        assert await store.get_run("t", run.id) == run.run()


async def test_another_attempt_writes_nothing_and_the_others_do(store: Store) -> None:
    run, other = await begun(store), await begun(store)
    before = await store.get_run("t", run.id)
    assert await store.claim(run.id, 1)
    run.say("too late")
    run.writer.completed(run_pb2.Usage())
    other.say("in time")
    assert await store.append([run.take(), other.take()]) == frozenset({run.id})
    assert await store.get_run("t", run.id) == before
    assert await stored(store, run.id) == run.events[:2]
    assert await store.get_run("t", other.id) == other.run()


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_run_that_cannot_be_written_fails_alone(store: Store, place: int) -> None:
    broken, other, fresh = await begun(store), await begun(store), StoredRun(request_id="key")
    broken.say("x")
    taken = broken.take()
    assert not await store.append([taken])
    before = await stored(store, broken.id)
    other.say("y")
    other.writer.completed(run_pb2.Usage())
    group = [other.take(), fresh.take()]
    # The same events twice: a fault of ours.
    group.insert(place, taken)
    with capture_logs() as logs:
        assert await store.append(group) == {broken.id}
    assert [(line["event"], line["run_id"]) for line in logs] == [("append_refused", broken.id)]
    assert await stored(store, broken.id) == before
    for run in (other, fresh):
        assert await stored(store, run.id) == run.events
        assert await store.get_run("t", run.id) == run.run()
    assert await store.find_request("t", "key") is not None


async def test_a_new_run_that_cannot_be_written_leaves_nothing_behind(store: Store) -> None:
    await ended(store, request_id="key")
    second, other = StoredRun(request_id="key"), StoredRun()
    assert await store.append([second.take(), other.take()]) == {second.id}
    assert await store.get_run("t", second.id) is None
    assert await stored(store, second.id) == []
    assert await store.get_run("t", other.id) == other.run()


async def test_a_run_that_is_gone_is_fenced(store: Store) -> None:
    run = await begun(store)
    assert await store.delete_run("t", run.id)
    run.say("too late")
    assert await store.append([run.take()]) == frozenset({run.id})
    assert await stored(store, run.id) == []
    assert await store.get_run("t", run.id) is None


async def test_the_next_attempt_may_write(store: Store) -> None:
    run = await begun(store)
    assert await store.claim(run.id, 1)
    run.log.attempt = 2
    run.writer.restarted()
    await append(store, run)
    assert await stored(store, run.id) == run.events


async def test_an_attempt_is_claimed_once(store: Store) -> None:
    run = await begun(store)
    assert [await store.claim(run.id, 1), await store.claim(run.id, 1)] == [True, False]
    assert await store.claim(run.id, 2)
    assert not await store.claim("run_" + "0" * 32, 1)


async def test_a_run_that_is_over_cannot_be_claimed(store: Store) -> None:
    run = await ended(store)
    assert not await store.claim(run.id, 1)


async def test_an_attempt_that_let_go_of_its_run_is_no_loss(store: Store) -> None:
    run, other, over = await begun(store), await begun(store), await ended(store)
    await store.release({run.id: 1, other.id: 2, over.id: 1})
    await store.release({})
    assert {left.run_id: left.losses for left in await store.unfinished()} == {run.id: 0, other.id: 1}
    for attempt in (1, 2):
        assert await store.claim(run.id, attempt)
    assert {left.run_id: left.losses for left in await store.unfinished()} == {run.id: 2, other.id: 1}


async def test_unfinished_runs_are_those_without_an_end_oldest_first(store: Store) -> None:
    await ended(store)
    first = await begun(store)
    await ended(store)
    second = StoredRun("other tenant")
    await append(store, second)
    assert await store.claim(second.id, 1)
    left = await store.unfinished()
    assert [(each.run_id, each.tenant, each.attempt) for each in left] == [
        (first.id, "t", 1),
        (second.id, "other tenant", 2),
    ]


@pytest.mark.parametrize("limit", [1, 30_000, 100_000, EVERYTHING])
async def test_events_are_read_in_pieces_of_about_the_limit(store: Store, limit: int) -> None:
    run = await begun(store)
    for _ in range(30):
        run.say("x" * 5000)
        await append(store, run)
    got: list[event_pb2.RunEvent] = []
    pieces = 0
    while batches := await store.read_events(run.id, len(got), limit):
        pieces += 1
        events = [event for batch in batches for event in decode(batch.frames)]
        assert [batch.first for batch in batches[1:]] == [batch.last + 1 for batch in batches[:-1]]
        assert sum(len(batch.frames) for batch in batches[:-1]) < limit
        got += events
    assert got == run.events
    assert (pieces == 1) is (limit == EVERYTHING)


async def test_a_cursor_in_the_middle_of_a_batch_gets_that_batch(store: Store) -> None:
    run = await ended(store)
    for after in range(len(run.events)):
        (batch,) = await store.read_events(run.id, after, 1)
        assert (batch.first, batch.last) == (1, len(run.events))
    assert await store.read_events(run.id, len(run.events), 1) == []


async def test_a_run_that_never_was_has_no_events(store: Store) -> None:
    assert await store.read_events("run_" + "0" * 32, 0, EVERYTHING) == []


async def test_the_state_is_that_of_the_newest_event(store: Store) -> None:
    # Some events come with the first of their run, some later: both must move the state.
    together, apart = StoredRun(), StoredRun()
    together.writer.started()
    await append(store, together, apart)
    assert await states(store, together, apart) == [run_pb2.RUN_STATE_IN_PROGRESS, run_pb2.RUN_STATE_QUEUED]
    apart.writer.started()
    await append(store, apart)
    assert await states(store, together, apart) == [run_pb2.RUN_STATE_IN_PROGRESS] * 2
    apart.writer.add(event_pb2.RunEvent(approval_requested=event_pb2.ApprovalRequested(item_id="apr_1")))
    together.writer.completed(run_pb2.Usage())
    await append(store, together, apart)
    assert await states(store, together, apart) == [run_pb2.RUN_STATE_COMPLETED, run_pb2.RUN_STATE_REQUIRES_ACTION]
    for run in (together, apart):
        listed = await store.list_runs("t", RunFilter(states=[run.fold.state]))
        assert [each.id for each in listed] == [run.id]


async def states(store: Store, *runs: StoredRun) -> Sequence[int]:
    heads = [await store.run_head("t", run.id) for run in runs]
    assert [head.last_sequence for head in heads if head] == [len(run.events) for run in runs]
    return [head.state for head in heads if head]


END = (START_SECONDS + 3600) * 10**9


async def test_events_are_forgotten_after_their_time_and_the_run_is_not(store: Store) -> None:
    over, running = await ended(store), await begun(store)
    assert await store.expire(ended_before_ns=0, requested_before_ns=0, limit=10) == 0
    assert await stored(store, over.id) == over.events
    assert await store.expire(ended_before_ns=END, requested_before_ns=0, limit=10) == 1
    assert await store.expire(ended_before_ns=END, requested_before_ns=0, limit=10) == 0
    for after in range(len(over.events)):
        with pytest.raises(CursorExpired):
            await store.read_events(over.id, after, EVERYTHING)
    assert await store.read_events(over.id, len(over.events), EVERYTHING) == []
    assert await store.get_run("t", over.id) == over.run()
    assert await stored(store, running.id) == running.events
    head = await store.run_head("t", over.id)
    assert head is not None
    assert head.last_sequence == len(over.events)


async def test_no_more_is_forgotten_at_once_than_asked(store: Store) -> None:
    for number in range(5):
        await ended(store, request_id=f"r{number}")
    counts = [await store.expire(ended_before_ns=END, requested_before_ns=NOW + 1, limit=2) for _ in range(4)]
    assert counts == [4, 4, 2, 0]


async def test_a_request_id_names_its_run_for_its_time(store: Store) -> None:
    run = await ended(store, "t", "body", request_id="key")
    earlier = await store.find_request("t", "key")
    assert earlier is not None
    assert earlier.run_id == run.id
    assert len(earlier.request_hash) == 32
    assert await store.find_request("t", "other") is None
    await store.expire(ended_before_ns=0, requested_before_ns=NOW, limit=10)
    assert await store.find_request("t", "key") == earlier
    await store.expire(ended_before_ns=0, requested_before_ns=NOW + 1, limit=10)
    assert await store.find_request("t", "key") is None
    assert await store.get_run("t", run.id) == run.run()


async def test_tenants_choose_request_ids_for_themselves(store: Store) -> None:
    one, two = await ended(store, "one", request_id="key"), await ended(store, "two", request_id="key")
    found = [await store.find_request(tenant, "key") for tenant in ("one", "two")]
    assert [each and each.run_id for each in found] == [one.id, two.id]
