"""The rows of the log: how events become durable, and how they are read again."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import structlog
from breezeway.v1 import item_pb2, run_pb2
from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError

from breezeway_server.errors import CursorExpired
from breezeway_server.events.ids import item_key
from breezeway_server.events.log_store import Append, NewRun, StoredFrames
from breezeway_server.events.turns import turn_start
from breezeway_server.store.journal import Events, Journal, Owned, Written, write, write_events
from breezeway_server.store.schema import events, items, requests, run_metadata, runs


class OutOfSequence(Exception):
    """Events do not go on where those of their run ended."""


# What no store can write, now or later: a fault of ours, and no reason to try again.
FAULTS = (IntegrityError, DataError, OutOfSequence)

_logger = structlog.get_logger()

_INSERT_RUN = insert(runs)
_INSERT_ITEM = insert(items)
_SET_STATE = update(runs).where(runs.c.id == bindparam("run")).values(state=bindparam("new_state"))
_SET_RESULT = (
    update(runs)
    .where(runs.c.id == bindparam("run"))
    .values(state=bindparam("new_state"), result=bindparam("new_result"), end_time_ns=bindparam("new_end"))
)
# One parameter however many runs: the statement is prepared once.
_OWNED = """
SELECT id, tenant, conversation_id, attempt,
    coalesce((SELECT last FROM events WHERE run_id = runs.id ORDER BY first DESC LIMIT 1), 0)
FROM runs WHERE id IN (SELECT value FROM json_each(?))
"""


def append(connection: Connection, appends: Sequence[Append], journal: Journal) -> Written:
    """Write the events of many runs; see `LogStore.append`."""
    fresh = [(append, append.new) for append in appends if append.new is not None]
    if fresh:
        _create(connection, fresh)
    owned = _owned(connection, appends, journal)
    mine = [
        (append, run)
        for append in appends
        if (run := owned.get(append.run_id)) is not None and run.attempt == append.attempt
    ]
    ended = []
    for append, run in mine:
        if append.first != run.last + 1:
            raise OutOfSequence(f"{append.run_id}: event {append.first} cannot follow event {run.last}")
        if append.result is not None:
            ended.append(Events(append.run_id, run.held_from, run.frames + append.frames))
    write_events(connection, ended)
    if len(ended) < len(mine):
        write(connection, (append for append, _ in mine if append.result is None))
    outputs = [
        item_row(item, run.tenant, run.conversation_id, output=True) for append, run in mine for item in append.items
    ]
    if outputs:
        connection.execute(_INSERT_ITEM, outputs)
    written = [append for append, _ in mine]
    _set_states(connection, written)
    return Written(mine, frozenset(append.run_id for append in appends) - {append.run_id for append in written})


def append_singly(connection: Connection, appends: Sequence[Append], journal: Journal) -> Written:
    """Write the events of many runs, each for itself."""
    appended: list[tuple[Append, Owned]] = []
    refused: set[str] = set()
    for each in appends:
        try:
            # All in one transaction still: what is tried again must not have been written in part.
            with connection.begin_nested():
                written = append(connection, [each], journal)
        except FAULTS:
            _logger.exception("append_refused", run_id=each.run_id, attempt=each.attempt, first=each.first)
            refused.add(each.run_id)
        else:
            appended += written.appends
            refused |= written.fenced
    return Written(appended, frozenset(refused))


def _owned(connection: Connection, appends: Sequence[Append], journal: Journal) -> dict[str, Owned]:
    """Return those runs of the appends that there are."""
    found: dict[str, Owned] = {}
    unknown = []
    for append in appends:
        run = journal.get(append.run_id)
        if run is not None:
            found[append.run_id] = run
        elif append.new is not None:
            found[append.run_id] = Owned(append.new.tenant, append.new.spec.conversation_id or None, append.attempt, 0)
        else:
            unknown.append(append.run_id)
    if unknown:
        ids = msgspec.json.encode(unknown).decode()
        found |= {run_id: Owned(*rest) for run_id, *rest in connection.exec_driver_sql(_OWNED, (ids,))}
    return found


def _create(connection: Connection, fresh: Sequence[tuple[Append, NewRun]]) -> None:
    rows = [
        {
            "id": append.run_id,
            "tenant": new.tenant,
            "agent": new.spec.agent,
            "dialect": new.spec.dialect,
            # Its first events may have led it on already.
            "state": append.state,
            "attempt": append.attempt,
            "unreleased": 1,
            "conversation_id": new.spec.conversation_id or None,
            "previous_run_id": new.spec.previous_run_id or None,
            "explicit_history": new.spec.explicit_history,
            "create_time_ns": new.create_time_ns,
            "spec": new.spec.SerializeToString(),
        }
        for append, new in fresh
    ]
    connection.execute(_INSERT_RUN, rows)
    inputs = [row for _, new in fresh for row in _input_rows(new)]
    if inputs:
        connection.execute(_INSERT_ITEM, inputs)
    for append, new in fresh:
        if new.spec.metadata:
            write_metadata(connection, append.run_id, new.spec.metadata)
        if new.request_id:
            connection.execute(
                insert(requests).values(
                    tenant=new.tenant,
                    request_id=new.request_id,
                    run_id=append.run_id,
                    request_hash=new.request_hash,
                    create_time_ns=new.create_time_ns,
                )
            )


def _input_rows(new: NewRun) -> Iterator[dict[str, object]]:
    # Of an input that brings its own history, the conversation has the earlier turns already.
    fresh_from = turn_start(new.input) if new.spec.explicit_history else 0
    for position, item in enumerate(new.input):
        conversation_id = new.spec.conversation_id if position >= fresh_from else ""
        yield item_row(item, new.tenant, conversation_id or None, output=False)


def item_row(item: item_pb2.Item, tenant: str, conversation_id: str | None, *, output: bool) -> dict[str, object]:
    """Return the row of an item."""
    return {
        "sort_key": item_key(item.id),
        "id": item.id,
        "tenant": tenant,
        "run_id": item.run_id or None,
        "is_output": output,
        "conversation_id": conversation_id,
        "item": item.SerializeToString(),
    }


def write_metadata(connection: Connection, run_id: str, metadata: Mapping[str, str]) -> None:
    """Replace what lists of runs can be filtered by."""
    connection.execute(delete(run_metadata).where(run_metadata.c.run_id == run_id))
    rows = [{"run_id": run_id, "key": key, "value": value} for key, value in metadata.items()]
    if rows:
        connection.execute(insert(run_metadata), rows)


def _set_states(connection: Connection, mine: Sequence[Append]) -> None:
    ended = [
        {
            "run": each.run_id,
            "new_state": each.state,
            "new_result": each.result.SerializeToString(),
            "new_end": each.result.end_time.ToNanoseconds(),
        }
        for each in mine
        if each.result is not None
    ]
    if ended:
        connection.execute(_SET_RESULT, ended)
    moved = [
        {"run": each.run_id, "new_state": each.state}
        for each in mine
        if each.result is None and each.state is not None and each.new is None
    ]
    if moved:
        connection.execute(_SET_STATE, moved)


def read(connection: Connection, run_id: str, after: int, limit: int) -> list[StoredFrames]:
    """Return events above `after`; see `LogStore.read_events`."""
    found: list[StoredFrames] = []
    size = 0
    for batch in _batches(connection, run_id, after):
        found.append(batch)
        size += len(batch.frames)
        if size >= limit:
            break
    if found and found[0].first > after + 1:
        raise CursorExpired(run_id, after)
    if not found:
        result = connection.scalar(select(runs.c.result).where(runs.c.id == run_id))
        if result is not None and run_pb2.Run.FromString(result).last_sequence > after:
            raise CursorExpired(run_id, after)
    return found


def read_all(connection: Connection, run_id: str) -> bytes:
    """Return all events of a run as joined frames."""
    return b"".join(batch.frames for batch in _batches(connection, run_id, 0))


def _batches(connection: Connection, run_id: str, after: int) -> Iterator[StoredFrames]:
    query = (
        select(events.c.first, events.c.last, events.c.frames)
        .where(events.c.run_id == run_id, events.c.last > after)
        .order_by(events.c.first)
    )
    for row in connection.execute(query):
        yield StoredFrames(row.first, row.last, row.frames)
