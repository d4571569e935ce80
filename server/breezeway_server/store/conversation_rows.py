"""The rows of conversations, and which items they hold."""

from collections.abc import Sequence

import msgspec
from breezeway.v1 import conversation_pb2, item_pb2
from sqlalchemy import Connection, and_, delete, insert, select, tuple_, update

from breezeway_server.store import item_rows, request_rows
from breezeway_server.store.base import Created, ItemPage, Request
from breezeway_server.store.log_rows import item_row
from breezeway_server.store.schema import conversation_requests, conversations, items


def created(connection: Connection, tenant: str, request: Request) -> Created | None:
    """Return what the request id made before. Raises `RequestIdReused`."""
    earlier = request_rows.find(connection, conversation_requests, tenant, request)
    if earlier is None:
        return None
    item_ids = msgspec.json.decode(earlier.item_ids, type=list[str])
    conversation = get(connection, tenant, earlier.conversation_id)
    assert conversation is not None, "a request id goes with its conversation"
    found = item_rows.find(connection, tenant, item_ids)
    return Created(conversation, [found[item_id] for item_id in item_ids])


def create(
    connection: Connection,
    tenant: str,
    conversation: conversation_pb2.Conversation,
    first: Sequence[item_pb2.Item],
    request: Request | None,
) -> conversation_pb2.Conversation | None:
    """Create the conversation with its first items."""
    # Looked up again: a repeat may have come while its first call was on its way here.
    if request is not None and (earlier := created(connection, tenant, request)) is not None:
        return earlier.conversation
    if get(connection, tenant, conversation.id) is not None:
        return None
    connection.execute(
        insert(conversations).values(
            tenant=tenant,
            id=conversation.id,
            create_time_ns=conversation.create_time.ToNanoseconds(),
            conversation=conversation.SerializeToString(),
        )
    )
    _add(connection, tenant, conversation.id, first)
    if request is not None:
        # The answer does not show the first items.
        _remember(connection, tenant, request, conversation.id, [])
    return conversation


def _remember(
    connection: Connection, tenant: str, request: Request, conversation_id: str, item_ids: Sequence[str]
) -> None:
    made = msgspec.json.encode(item_ids).decode()
    request_rows.remember(
        connection, conversation_requests, tenant, request, conversation_id=conversation_id, item_ids=made
    )


def _add(connection: Connection, tenant: str, conversation_id: str, added: Sequence[item_pb2.Item]) -> None:
    rows = [item_row(item, tenant, conversation_id, output=False) for item in added]
    if rows:
        connection.execute(insert(items), rows)


def get(connection: Connection, tenant: str, conversation_id: str) -> conversation_pb2.Conversation | None:
    """Return the conversation."""
    found = (conversations.c.tenant == tenant, conversations.c.id == conversation_id)
    row = connection.execute(select(conversations.c.conversation).where(*found)).first()
    return None if row is None else conversation_pb2.Conversation.FromString(row.conversation)


def list_(
    connection: Connection, tenant: str, before: tuple[int, str] | None, limit: int
) -> list[conversation_pb2.Conversation]:
    """Return conversations, newest first."""
    place = (conversations.c.create_time_ns, conversations.c.id)
    query = select(conversations.c.conversation).where(conversations.c.tenant == tenant)
    if before is not None:
        query = query.where(tuple_(*place) < before)
    query = query.order_by(*(column.desc() for column in place)).limit(limit)
    return [conversation_pb2.Conversation.FromString(row) for row in connection.scalars(query)]


def update_(connection: Connection, tenant: str, conversation: conversation_pb2.Conversation) -> bool:
    """Replace the conversation of that id."""
    found = (conversations.c.tenant == tenant, conversations.c.id == conversation.id)
    changed = update(conversations).where(*found).values(conversation=conversation.SerializeToString())
    return connection.execute(changed).rowcount > 0


def delete_(connection: Connection, tenant: str, conversation_id: str) -> bool:
    """Delete the conversation, its request ids, and the items that belong to it alone."""
    found = (conversations.c.tenant == tenant, conversations.c.id == conversation_id)
    if connection.execute(delete(conversations).where(*found)).rowcount == 0:
        return False
    held = and_(items.c.tenant == tenant, items.c.conversation_id == conversation_id)
    connection.execute(delete(items).where(held, items.c.run_id.is_(None)))
    connection.execute(update(items).where(held).values(removed=True))
    return True


def add_items(
    connection: Connection,
    tenant: str,
    conversation_id: str,
    added: Sequence[item_pb2.Item],
    request: Request | None,
) -> Sequence[item_pb2.Item] | None:
    """Add items at the end."""
    if request is not None and (earlier := created(connection, tenant, request)) is not None:
        return earlier.items
    if get(connection, tenant, conversation_id) is None:
        return None
    _add(connection, tenant, conversation_id, added)
    if request is not None:
        _remember(connection, tenant, request, conversation_id, [item.id for item in added])
    return added


def list_items(
    connection: Connection, tenant: str, conversation_id: str, page: ItemPage
) -> tuple[list[item_pb2.Item], bool] | None:
    """Return a page of the conversation's items."""
    return item_rows.page_of(connection, item_rows.in_conversation(tenant, conversation_id), page)


def get_item(connection: Connection, tenant: str, conversation_id: str, item_id: str) -> item_pb2.Item | None:
    """Return one item of the conversation."""
    this = and_(item_rows.in_conversation(tenant, conversation_id), item_rows.this_item(item_id))
    item = connection.scalar(select(items.c.item).where(this))
    return None if item is None else item_pb2.Item.FromString(item)


def remove_item(connection: Connection, tenant: str, conversation_id: str, item_id: str) -> bool:
    """Take an item out of the conversation."""
    this = and_(item_rows.in_conversation(tenant, conversation_id), item_rows.this_item(item_id))
    return connection.execute(update(items).where(this).values(removed=True)).rowcount > 0
