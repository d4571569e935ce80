"""The rows of request ids that made conversations or items in them.

Those of runs lie apart: a run that is under way before its rows are written must not meet an id of these.
"""

import msgspec
from sqlalchemy import Connection, delete, insert, select

from breezeway_server.errors import RequestIdReused
from breezeway_server.store.base import Request
from breezeway_server.store.schema import conversation_requests


def find(connection: Connection, tenant: str, request: Request) -> tuple[str, list[str]] | None:
    """Return the ids of the conversation and the items that the request id made before.

    Raises `RequestIdReused` where it came with another body.
    """
    this = (conversation_requests.c.tenant == tenant, conversation_requests.c.request_id == request.id)
    row = connection.execute(select(conversation_requests).where(*this)).first()
    if row is None:
        return None
    if row.request_hash != request.hash:
        raise RequestIdReused(request.id)
    return row.conversation_id, msgspec.json.decode(row.item_ids, type=list[str])


def remember(connection: Connection, tenant: str, request: Request, conversation_id: str, item_ids: list[str]) -> None:
    """Write down what the request id has made."""
    connection.execute(
        insert(conversation_requests).values(
            tenant=tenant,
            request_id=request.id,
            conversation_id=conversation_id,
            item_ids=msgspec.json.encode(item_ids).decode(),
            request_hash=request.hash,
            create_time_ns=request.time_ns,
        )
    )


def expire(connection: Connection, before_ns: int, limit: int) -> int:
    """Forget request ids that are past their time, the oldest first; return how many it was."""
    key = (conversation_requests.c.tenant, conversation_requests.c.request_id)
    old = select(*key).where(conversation_requests.c.create_time_ns < before_ns)
    found = connection.execute(old.order_by(conversation_requests.c.create_time_ns).limit(limit)).all()
    for tenant, request_id in found:
        connection.execute(delete(conversation_requests).where(key[0] == tenant, key[1] == request_id))
    return len(found)
