"""The rows of request ids that made conversations, items in them, jobs and profiles.

Those of runs lie apart: a run that is under way before its rows are written must not meet an id of these.
"""

from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select

from breezeway_server.errors import RequestIdReused
from breezeway_server.store.base import Request
from breezeway_server.store.schema import conversation_requests, job_requests, profile_requests

_TABLES = (conversation_requests, job_requests, profile_requests)


def find(connection: Connection, table: Table, tenant: str, request: Request) -> Row[Any] | None:
    """Return the row of `table` that tells what the request id made before.

    Raises `RequestIdReused` where it came with another body.
    """
    this = (table.c.tenant == tenant, table.c.request_id == request.id)
    row = connection.execute(select(table).where(*this)).first()
    if row is not None and row.request_hash != request.hash:
        raise RequestIdReused(request.id)
    return row


def remember(connection: Connection, table: Table, tenant: str, request: Request, **made: str) -> None:
    """Write down what the request id has made, in the columns that the table has for it."""
    connection.execute(
        insert(table).values(
            tenant=tenant, request_id=request.id, request_hash=request.hash, create_time_ns=request.time_ns, **made
        )
    )


def expire(connection: Connection, before_ns: int, limit: int) -> int:
    """Forget request ids that are past their time, the oldest of each table first; return how many it was."""
    return sum(_expire(connection, table, before_ns, limit) for table in _TABLES)


def _expire(connection: Connection, table: Table, before_ns: int, limit: int) -> int:
    key = (table.c.tenant, table.c.request_id)
    old = select(*key).where(table.c.create_time_ns < before_ns).order_by(table.c.create_time_ns).limit(limit)
    found = connection.execute(old).all()
    for tenant, request_id in found:
        connection.execute(delete(table).where(key[0] == tenant, key[1] == request_id))
    return len(found)
