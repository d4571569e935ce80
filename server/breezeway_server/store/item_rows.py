"""The rows of items: history, and lists of them."""

from collections.abc import Iterable, Sequence

from breezeway.v1 import item_pb2, run_pb2
from sqlalchemy import CTE, BindParameter, ColumnElement, Connection, Select, and_, bindparam, or_, select

from breezeway_server.events.ids import item_key, run_key
from breezeway_server.store.base import ItemPage
from breezeway_server.store.schema import items, runs

Condition = ColumnElement[bool]


def history(connection: Connection, tenant: str, spec: run_pb2.RunSpec, before_run_id: str) -> list[item_pb2.Item]:
    """Return the items that a run of this spec goes on from, oldest first."""
    if spec.previous_run_id and not spec.explicit_history:
        run = {"tenant": tenant, "run_id": spec.previous_run_id}
        if connection.execute(_READ_CONVERSATIONS, run).first() is None:
            return _items(connection.scalars(_ITEMS_OF_CHAIN, run))
    earlier = _earlier(connection, tenant, spec, before_run_id)
    return [] if earlier is None else _read(connection, earlier)


def _earlier(connection: Connection, tenant: str, spec: run_pb2.RunSpec, run_id: str) -> Condition | None:
    """Return which items a run of this id and spec goes on from; None where it begins anew."""
    if spec.explicit_history:
        return None
    if spec.previous_run_id:
        return _chain(connection, tenant, spec.previous_run_id)
    if spec.conversation_id:
        return _conversation_before(tenant, spec.conversation_id, run_id)
    return None


def _chain(connection: Connection, tenant: str, run_id: str) -> Condition:
    """Return which items a run and those it went on from hold."""
    read = connection.execute(_READ_CONVERSATIONS, {"tenant": tenant, "run_id": run_id}).all()
    own = items.c.run_id.in_(select(_chain_of(tenant, run_id).c.id))
    return or_(own, *[_conversation_before(tenant, row.conversation_id, row.id) for row in read])


def _chain_of(tenant: str | BindParameter[str], run_id: str | BindParameter[str]) -> CTE:
    """Return a run and those it went on from, as rows."""
    columns = (runs.c.id, runs.c.previous_run_id, runs.c.conversation_id, runs.c.explicit_history)
    chain = select(*columns).where(runs.c.tenant == tenant, runs.c.id == run_id).cte("chain", recursive=True)
    link = and_(runs.c.tenant == tenant, runs.c.id == chain.c.previous_run_id, chain.c.explicit_history.is_(False))
    return chain.union_all(select(*columns).where(link))


def _conversations_read_by(chain: CTE) -> Select[tuple[str, str]]:
    """Return which of the runs read a conversation, and which."""
    reads = and_(chain.c.conversation_id.is_not(None), chain.c.explicit_history.is_(False))
    return select(chain.c.id, chain.c.conversation_id).where(reads)


# What most chains need is built once: building it costs several times what SQLite does with it.
_CHAIN = _chain_of(bindparam("tenant"), bindparam("run_id"))
_READ_CONVERSATIONS = _conversations_read_by(_CHAIN)
_ITEMS_OF_CHAIN = select(items.c.item).where(items.c.run_id.in_(select(_CHAIN.c.id))).order_by(items.c.sort_key)


def _conversation_before(tenant: str, conversation_id: str, run_id: str) -> Condition:
    return and_(in_conversation(tenant, conversation_id), items.c.sort_key < run_key(run_id))


def in_conversation(tenant: str, conversation_id: str) -> Condition:
    """Return which items a conversation holds."""
    return and_(items.c.tenant == tenant, items.c.conversation_id == conversation_id, items.c.removed.is_(False))


def _read(connection: Connection, where: Condition) -> list[item_pb2.Item]:
    return _items(connection.scalars(select(items.c.item).where(where).order_by(items.c.sort_key)))


def _items(rows: Iterable[bytes]) -> list[item_pb2.Item]:
    return [item_pb2.Item.FromString(row) for row in rows]


def this_item(item_id: str) -> Condition:
    """Return which item has that id: its key alone may belong to one of another kind."""
    return and_(items.c.sort_key == item_key(item_id), items.c.id == item_id)


def page_of(connection: Connection, where: Condition, page: ItemPage) -> tuple[list[item_pb2.Item], bool] | None:
    """Return a page of the items, and whether there is more; None where there is no item to begin after."""
    query = select(items.c.item).where(where)
    if page.after_item_id:
        key = item_key(page.after_item_id)
        there = select(items.c.id).where(where, this_item(page.after_item_id))
        if connection.execute(there).first() is None:
            return None
        query = query.where(items.c.sort_key > key if page.ascending else items.c.sort_key < key)
    query = query.order_by(items.c.sort_key if page.ascending else items.c.sort_key.desc()).limit(page.limit + 1)
    found = _items(connection.scalars(query))
    return found[: page.limit], len(found) > page.limit


def list_of_run(
    connection: Connection, tenant: str, run_id: str, page: ItemPage, *, output: bool
) -> tuple[list[item_pb2.Item], bool] | None:
    """Return a page of a run's output, or of its input with the history before it."""
    query = select(runs.c.spec, runs.c.previous_run_id).where(runs.c.tenant == tenant, runs.c.id == run_id)
    row = connection.execute(query).first()
    if row is None:
        return None
    own = and_(items.c.run_id == run_id, items.c.is_output.is_(output))
    if output:
        return page_of(connection, own, page)
    spec = run_pb2.RunSpec.FromString(row.spec)
    # The spec stays as it was asked for; the run before it may have been deleted since.
    spec.previous_run_id = row.previous_run_id or ""
    earlier = _earlier(connection, tenant, spec, run_id)
    return page_of(connection, own if earlier is None else or_(own, earlier), page)


def find(connection: Connection, tenant: str, item_ids: Sequence[str]) -> dict[str, item_pb2.Item]:
    """Return those of the items that are there."""
    keys = [item_key(item_id) for item_id in item_ids]
    query = select(items.c.item).where(items.c.tenant == tenant, items.c.sort_key.in_(keys))
    found = (item_pb2.Item.FromString(item) for item in connection.scalars(query))
    return {item.id: item for item in found if item.id in item_ids}
