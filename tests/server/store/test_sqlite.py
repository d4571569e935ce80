"""What the SQLite store promises beyond the contract of all stores."""

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from breezeway.v1 import run_pb2
from breezeway_server.errors import Unavailable
from breezeway_server.events.framing import decode
from breezeway_server.store.database import StoreLocked
from breezeway_server.store.schema import metadata
from breezeway_server.store.sqlite import open_sqlite
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError

from tests.server.store.builders import begun, ended

ROOT = Path(__file__).parents[3]
FILE = "breezeway.sqlite3"


async def test_everything_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.server.store.appender",
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    acknowledged: dict[str, int] = {}
    for _ in range(150):
        run_id, last = (await child.stdout.readline()).split()
        acknowledged[run_id.decode()] = int(last)
    child.kill()
    # What it wrote before the kill had been acknowledged to it too.
    for line in (await child.stdout.read()).splitlines(keepends=True):
        if line.endswith(b"\n"):
            run_id, last = line.split()
            acknowledged[run_id.decode()] = int(last)
    await child.wait()
    store = open_sqlite(tmp_path, "NORMAL")
    for name, count in acknowledged.items():
        batches = await store.read_events(name, 0, 10**9)
        events = decode(b"".join(batch.frames for batch in batches))
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert len(events) >= count
        run = await store.get_run("t", name)
        assert run is not None
        assert run.state == run_pb2.RUN_STATE_IN_PROGRESS
    assert {run.run_id for run in await store.unfinished()} >= acknowledged.keys()
    await store.close()


async def test_the_migrations_lead_to_the_tables_of_the_schema(tmp_path: Path) -> None:
    await open_sqlite(tmp_path, "NORMAL").close()
    engine = create_engine(f"sqlite:///{tmp_path / FILE}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


async def test_a_store_that_is_opened_again_has_what_it_had(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, "NORMAL")
    over, running = await ended(store), await begun(store)
    await store.close()
    for synchronous in ("FULL", "NORMAL"):
        store = open_sqlite(tmp_path, synchronous)
        assert await store.get_run("t", over.id) == over.run()
        assert await store.get_run("t", running.id) == running.run()
        await store.close()


async def test_a_directory_belongs_to_one_store(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, "NORMAL")
    with pytest.raises(StoreLocked, match=str(tmp_path)):
        open_sqlite(tmp_path, "NORMAL")
    await store.close()
    await open_sqlite(tmp_path, "NORMAL").close()


async def test_another_process_is_locked_out_too(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, "NORMAL")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.store.appender", str(tmp_path), stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    _, errors = await child.communicate()
    assert child.returncode == 1
    assert b"StoreLocked" in errors
    await store.close()


async def test_a_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    await open_sqlite(directory, "NORMAL").close()
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_migration_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE)
    # The last table of the first migration is there already, and not ours.
    other.execute("CREATE TABLE grants (x)")
    other.commit()
    with pytest.raises(OperationalError, match="already exists"):
        open_sqlite(tmp_path, "NORMAL")
    other.execute("DROP TABLE grants")
    assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == []
    other.close()
    await open_sqlite(tmp_path, "NORMAL").close()


async def test_it_writes_ahead_and_in_transactions(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, "FULL")
    await ended(store)
    other = sqlite3.connect(tmp_path / FILE)
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    # No reader's transaction is left open: the log can be folded back into the file.
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    other.close()
    await store.close()


async def test_a_store_that_cannot_write_now_writes_nothing_and_says_so(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, "NORMAL")
    one, other = await begun(store), await begun(store)
    one.say("x")
    other.say("y")
    group = [one.take(), other.take()]

    def full(*execution: Any) -> None:
        # The events are written by then.
        if execution[2].startswith("INSERT INTO items"):
            raise OperationalError("", None, sqlite3.OperationalError("database or disk is full"))

    event.listen(store._engine, "before_cursor_execute", full)
    with pytest.raises(Unavailable):
        await store.append(group)
    event.remove(store._engine, "before_cursor_execute", full)
    for run in (one, other):
        assert [batch.last for batch in await store.read_events(run.id, 0, 1)] == [2]
    assert not await store.append(group)
    await store.close()


async def test_what_is_to_be_forgotten_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, "NORMAL")
    await ended(store, request_id="key")
    statements: list[tuple[str, Any]] = []

    @event.listens_for(store._engine, "before_cursor_execute")
    def note(*execution: Any) -> None:
        if execution[2].startswith("SELECT"):
            statements.append(execution[2:4])

    await store.expire(ended_before_ns=2**62, requested_before_ns=2**62, limit=10)
    await store.close()
    database = sqlite3.connect(tmp_path / FILE)
    plans = [database.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall() for text, values in statements]
    database.close()
    assert [[step[3].partition(" (")[0] for step in plan] for plan in plans] == [
        ["SEARCH runs USING INDEX ix_runs_log_kept"],
        ["SEARCH requests USING INDEX ix_requests_create_time_ns"],
        ["SEARCH conversation_requests USING INDEX ix_conversation_requests_create_time_ns"],
        ["SEARCH job_requests USING INDEX ix_job_requests_create_time_ns"],
        ["SEARCH profile_requests USING INDEX ix_profile_requests_create_time_ns"],
    ]
