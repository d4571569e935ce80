"""The journal of the SQLite store: nothing is lost or doubled on the way from there to the rows of runs."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway_server.events.framing import decode
from breezeway_server.store.base import RunFilter
from breezeway_server.store.sqlite import SqliteStore, open_sqlite
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from tests.server.store.builders import StoredRun, append, begun, ended
from tests.support.server import DATABASE, opened

MEBIBYTE = 1024 * 1024


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await opened(tmp_path)
    yield store
    await store.close()


def rows(directory: Path, table: str) -> int:
    """How many rows are durable there."""
    database = sqlite3.connect(directory / DATABASE)
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own tables
    finally:
        database.close()


def crashed(directory: Path, name: str = "crashed") -> SqliteStore:
    """The store as a process that is lost now would leave it to the next."""
    copy = directory / name
    copy.mkdir()
    for file in directory.glob(f"{DATABASE}*"):
        shutil.copy(file, copy)
    return open_sqlite(copy, "NORMAL")


async def stored(store: SqliteStore, run: StoredRun) -> list[event_pb2.RunEvent]:
    batches = await store.read_events(run.id, 0, 10**9)
    return [event for batch in batches for event in decode(batch.frames)]


async def talking(store: SqliteStore, count: int) -> list[StoredRun]:
    """Runs under way that have said something, in a commit of its own."""
    runs = [await begun(store) for _ in range(count)]
    for run in runs:
        run.say("x")
    await append(store, *runs)
    return runs


async def test_what_many_runs_say_at_once_is_one_row(store: SqliteStore, tmp_path: Path) -> None:
    before = rows(tmp_path, "journal")
    await talking(store, 40)
    assert rows(tmp_path, "journal") == before + 40 + 1
    assert rows(tmp_path, "events") == 0


async def test_a_run_that_ends_has_all_its_events_in_its_own_rows(store: SqliteStore, tmp_path: Path) -> None:
    one, other = await talking(store, 2)
    one.writer.completed(run_pb2.Usage())
    await append(store, one)
    assert rows(tmp_path, "events") == 1
    assert await stored(store, one) == one.events
    assert await stored(store, other) == other.events


async def test_nothing_is_kept_twice_once_no_run_needs_it(store: SqliteStore, tmp_path: Path) -> None:
    one, other = await talking(store, 2)
    for run, left in ((one, True), (other, False)):
        run.writer.completed(run_pb2.Usage())
        await append(store, run)
        assert (rows(tmp_path, "journal") > 0) is left
    await ended(store)
    assert rows(tmp_path, "journal") == 0


async def test_it_is_written_out_before_it_grows(store: SqliteStore, tmp_path: Path) -> None:
    run = await begun(store)
    for _ in range(5):
        run.say("x" * MEBIBYTE)
        await append(store, run)
    assert rows(tmp_path, "journal") <= 2
    assert rows(tmp_path, "events") > 0
    assert await stored(store, run) == run.events


async def test_what_only_the_journal_had_survives_a_crash(store: SqliteStore, tmp_path: Path) -> None:
    runs = await talking(store, 3)
    # Some of it is in rows of its own by now, and the rest is not.
    assert await stored(store, runs[0]) == runs[0].events
    runs[0].say("more")
    runs[1].say("more")
    await append(store, *runs[:2])
    runs[1].writer.completed(run_pb2.Usage())
    await append(store, runs[1])
    next_one = crashed(tmp_path)
    for run in runs:
        assert await stored(next_one, run) == run.events
        assert await next_one.get_run("t", run.id) == run.run()
    assert rows(tmp_path / "crashed", "journal") == 0
    runs[0].say("and more")
    await append(next_one, runs[0])
    assert await stored(next_one, runs[0]) == runs[0].events
    await next_one.close()


async def test_events_that_were_forgotten_do_not_come_back(store: SqliteStore, tmp_path: Path) -> None:
    one, other = await talking(store, 2)
    one.writer.completed(run_pb2.Usage())
    await append(store, one)
    await store.expire(ended_before_ns=2**62, requested_before_ns=0, limit=10)
    assert await store.delete_run("t", other.id)
    assert rows(tmp_path, "journal") == 0
    next_one = crashed(tmp_path)
    assert rows(tmp_path / "crashed", "events") == 0
    await next_one.close()


async def test_of_a_deleted_run_nothing_is_left_in_the_journal(store: SqliteStore, tmp_path: Path) -> None:
    one, other = await talking(store, 2)
    assert await store.delete_run("t", one.id)
    assert rows(tmp_path, "journal") == 0
    assert await stored(store, one) == []
    assert await stored(store, other) == other.events
    other.say("more")
    await append(store, other)
    assert await stored(store, other) == other.events


async def test_an_attempt_that_lost_its_run_is_refused_also_where_the_run_is_known(store: SqliteStore) -> None:
    (run,) = await talking(store, 1)
    assert await store.claim(run.id, 1)
    run.say("too late")
    late = run.take()
    assert await store.append([late]) == {run.id}
    late.attempt = 2
    assert await store.append([late]) == frozenset()
    assert await stored(store, run) == run.events


async def test_events_that_leave_a_gap_are_refused(store: SqliteStore) -> None:
    run, other = await talking(store, 2)
    run.say("lost")
    run.take()
    run.say("behind it")
    other.say("x")
    with capture_logs() as logs:
        assert await store.append([run.take(), other.take()]) == {run.id}
    assert [line["event"] for line in logs] == ["append_refused"]
    assert await stored(store, other) == other.events
    assert len(await stored(store, run)) < len(run.events)


async def test_a_journal_that_cannot_be_written_out_is_so_later(store: SqliteStore, tmp_path: Path) -> None:
    (run,) = await talking(store, 1)

    def full(*execution: Any) -> None:
        if execution[2].startswith("INSERT INTO events"):
            raise OperationalError("", None, sqlite3.OperationalError("database or disk is full"))

    event.listen(store._engine, "before_cursor_execute", full)
    run.say("x" * 3 * MEBIBYTE)
    with capture_logs() as logs:
        await append(store, run)
    assert [line["event"] for line in logs] == ["journal_not_written_out"]
    assert rows(tmp_path, "events") == 0
    event.remove(store._engine, "before_cursor_execute", full)
    run.say("x")
    await append(store, run)
    assert rows(tmp_path, "journal") == 0
    assert await stored(store, run) == run.events


STEPS = st.lists(
    st.tuples(st.sampled_from(["say", "say", "say", "end", "read", "list", "delete", "crash"]), st.integers(0, 4)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, groups=st.integers(1, 4))
def test_whatever_happens_in_whatever_order_each_run_has_its_events(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], groups: int
) -> None:
    async def live() -> None:
        async with AsyncExitStack() as stores:
            await _live(stores, tmp_path_factory.mktemp("store"), steps, groups)

    asyncio.run(live())


async def _live(stores: AsyncExitStack, directory: Path, steps: list[tuple[str, int]], groups: int) -> None:
    store = await opened(directory)
    stores.push_async_callback(store.close)
    runs = [await begun(store) for _ in range(5)]
    over: set[str] = set()
    gone: set[str] = set()
    for number, (what, which) in enumerate(steps):
        run = runs[which]
        going = [each for each in runs[which:] + runs[:which] if each.id not in over][:groups]
        if what == "say" and going:
            for each in going:
                each.say("x")
            await append(store, *going)
        elif what == "end" and run.id not in over:
            run.writer.completed(run_pb2.Usage())
            await append(store, run)
            over.add(run.id)
        elif what == "read":
            assert await stored(store, run) == ([] if run.id in gone else run.events)
        elif what == "list":
            listed = {each.id: each.last_sequence for each in await store.list_runs("t", RunFilter())}
            assert listed == {each.id: len(each.events) for each in runs if each.id not in gone}
        elif what == "delete":
            assert await store.delete_run("t", run.id) is (run.id not in gone)
            over.add(run.id)
            gone.add(run.id)
        elif what == "crash":
            store = crashed(directory, str(number))
            stores.push_async_callback(store.close)
            directory /= str(number)
    for run in runs:
        assert await stored(store, run) == ([] if run.id in gone else run.events)
