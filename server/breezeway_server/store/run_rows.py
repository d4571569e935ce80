"""The rows of runs: what is read and changed of a run as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from breezeway.v1 import item_pb2, run_pb2
from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, select, text, update

from breezeway_server.events.fold import fold
from breezeway_server.events.framing import decode
from breezeway_server.store import request_rows
from breezeway_server.store.base import EarlierRequest, RunFilter, RunHead, UnfinishedRun
from breezeway_server.store.log_rows import read_all, write_metadata
from breezeway_server.store.schema import events, grants, items, requests, run_metadata, runs

_COLUMNS = (runs.c.id, runs.c.state, runs.c.spec, runs.c.result)


def get(connection: Connection, tenant: str, run_id: str) -> run_pb2.Run | None:
    """Return the run as its log has it."""
    row = connection.execute(select(*_COLUMNS).where(runs.c.tenant == tenant, runs.c.id == run_id)).first()
    return None if row is None else _runs(connection, [row])[0]


def head(connection: Connection, tenant: str, run_id: str) -> RunHead | None:
    """Return where the run stands."""
    query = select(runs.c.state, runs.c.result).where(runs.c.tenant == tenant, runs.c.id == run_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    if row.result is not None:
        return RunHead(row.state, run_pb2.Run.FromString(row.result).last_sequence)
    last = connection.scalar(select(func.max(events.c.last)).where(events.c.run_id == run_id))
    return RunHead(row.state, last or 0)


def list_(connection: Connection, tenant: str, query: RunFilter) -> list[run_pb2.Run]:
    """Return runs by id."""
    statement = select(*_COLUMNS).where(runs.c.tenant == tenant).limit(query.limit)
    statement = statement.order_by(runs.c.id if query.ascending else runs.c.id.desc())
    if query.after_run_id:
        behind = runs.c.id > query.after_run_id if query.ascending else runs.c.id < query.after_run_id
        statement = statement.where(behind)
    for column, value in (
        (runs.c.agent, query.agent),
        (runs.c.dialect, query.dialect),
        (runs.c.conversation_id, query.conversation_id),
    ):
        if value:
            statement = statement.where(column == value)
    if query.states:
        statement = statement.where(runs.c.state.in_(list(query.states)))
    for key, value in query.metadata.items():
        pair = (run_metadata.c.run_id == runs.c.id, run_metadata.c.key == key, run_metadata.c.value == value)
        statement = statement.where(exists().where(*pair))
    return _runs(connection, connection.execute(statement).all())


def _runs(connection: Connection, rows: Sequence[Row[Any, Any, Any, Any]]) -> list[run_pb2.Run]:
    found = []
    by_run: dict[str, list[tuple[bool, item_pb2.Item]]] = {row.id: [] for row in rows}
    query = (
        select(items.c.run_id, items.c.is_output, items.c.item)
        .where(items.c.run_id.in_(list(by_run)))
        .order_by(items.c.sort_key)
    )
    for run_id, is_output, item in connection.execute(query):
        by_run[run_id].append((is_output, item_pb2.Item.FromString(item)))
    for row in rows:
        put_in = [item for is_output, item in by_run[row.id] if not is_output]
        if row.result is None:
            # Under way: what its log says so far, open items included.
            run = fold(row.id, decode(read_all(connection, row.id)), put_in).snapshot()
        else:
            run = run_pb2.Run.FromString(row.result)
            run.input.extend(put_in)
            run.output.extend(item for is_output, item in by_run[row.id] if is_output)
        run.spec.ParseFromString(row.spec)
        found.append(run)
    return found


def update_metadata(connection: Connection, tenant: str, run_id: str, metadata: Mapping[str, str]) -> bool:
    """Replace the run's metadata."""
    found = (runs.c.tenant == tenant, runs.c.id == run_id)
    row = connection.execute(select(runs.c.spec).where(*found)).first()
    if row is None:
        return False
    spec = run_pb2.RunSpec.FromString(row.spec)
    spec.metadata.clear()
    spec.metadata.update(metadata)
    connection.execute(update(runs).where(*found).values(spec=spec.SerializeToString()))
    write_metadata(connection, run_id, metadata)
    return True


def delete_(connection: Connection, tenant: str, run_id: str) -> bool:
    """Delete the run with all that is its own: the tables' foreign keys see to that.

    Runs that went on from it then go on from the one before it, so that they lose its part of the history alone. What
    it read of a conversation is part of that: no other row says where in the conversation it was.
    """
    this = (runs.c.tenant == tenant, runs.c.id == run_id)
    row = connection.execute(select(runs.c.previous_run_id, runs.c.explicit_history).where(*this)).first()
    if row is None:
        return False
    before = None if row.explicit_history else row.previous_run_id
    went_on = (runs.c.tenant == tenant, runs.c.previous_run_id == run_id)
    connection.execute(update(runs).where(*went_on).values(previous_run_id=before))
    connection.execute(delete(runs).where(*this))
    return True


def find_request(connection: Connection, tenant: str, request_id: str) -> EarlierRequest | None:
    """Return the run that the request id named before."""
    query = select(requests.c.run_id, requests.c.request_hash)
    row = connection.execute(query.where(requests.c.tenant == tenant, requests.c.request_id == request_id)).first()
    return None if row is None else EarlierRequest(row.run_id, row.request_hash)


def unfinished(connection: Connection) -> list[UnfinishedRun]:
    """Return the runs that have not ended."""
    columns = (runs.c.id, runs.c.tenant, runs.c.attempt, runs.c.unreleased)
    query = select(*columns).where(runs.c.end_time_ns.is_(None)).order_by(runs.c.id)
    return [UnfinishedRun(*row) for row in connection.execute(query)]


def claim(connection: Connection, run_id: str, attempt: int) -> bool:
    """Make `attempt` + 1 the run's attempt."""
    held = (runs.c.id == run_id, runs.c.attempt == attempt, runs.c.end_time_ns.is_(None))
    begun = {runs.c.attempt: attempt + 1, runs.c.unreleased: runs.c.unreleased + 1}
    return connection.execute(update(runs).where(*held).values(begun)).rowcount > 0


def release(connection: Connection, attempts: Mapping[str, int]) -> None:
    """Note that attempts have let go of their runs."""
    held = (runs.c.id == bindparam("run"), runs.c.attempt == bindparam("held"), runs.c.end_time_ns.is_(None))
    released = update(runs).where(*held).values(unreleased=runs.c.unreleased - 1)
    if attempts:
        connection.execute(released, [{"run": run_id, "held": attempt} for run_id, attempt in attempts.items()])


def grant(connection: Connection, tenant: str, agent: str, tool: str, scope: str) -> None:
    """Remember leave for an agent's tool in a scope."""
    if not _granted_in(connection, tenant, agent, tool, (scope,)):
        connection.execute(insert(grants).values(tenant=tenant, agent=agent, tool=tool, scope=scope))


def granted(connection: Connection, tenant: str, agent: str, tool: str, scope: str) -> bool:
    """Return whether leave for an agent's tool was given in this scope, or for always."""
    return _granted_in(connection, tenant, agent, tool, (scope, ""))


def _granted_in(connection: Connection, tenant: str, agent: str, tool: str, scopes: Sequence[str]) -> bool:
    this = (grants.c.tenant == tenant, grants.c.agent == agent, grants.c.tool == tool, grants.c.scope.in_(scopes))
    return connection.execute(select(grants.c.scope).where(*this)).first() is not None


def expire(connection: Connection, ended_before_ns: int, requested_before_ns: int, limit: int) -> int:
    """Forget events and request ids that are past their time."""
    old_runs = (
        select(runs.c.id)
        # As the index has it: the planner then sees that it holds all there is to find.
        .where(runs.c.end_time_ns < ended_before_ns, text("log_kept"))
        .order_by(runs.c.end_time_ns)
        .limit(limit)
    )
    old = list(connection.scalars(old_runs))
    if old:
        connection.execute(delete(events).where(events.c.run_id.in_(old)))
        connection.execute(update(runs).where(runs.c.id.in_(old)).values(log_kept=False))
    old_requests = (
        select(requests.c.tenant, requests.c.request_id)
        .where(requests.c.create_time_ns < requested_before_ns)
        .limit(limit)
    )
    keys = connection.execute(old_requests).all()
    for tenant, request_id in keys:
        connection.execute(delete(requests).where(requests.c.tenant == tenant, requests.c.request_id == request_id))
    return len(old) + len(keys) + request_rows.expire(connection, requested_before_ns, limit)
