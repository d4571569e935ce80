"""The rows of API keys."""

from breezeway.v1 import key_pb2
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from breezeway_server.store.base import StoredKey
from breezeway_server.store.schema import api_keys


def list_(connection: Connection) -> list[StoredKey]:
    """Return the keys of all tenants, oldest first."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.id)).all()
    return [
        StoredKey(key_pb2.Key.FromString(row.key), row.hash, row.previous_hash, row.previous_until_ns) for row in rows
    ]


def put(connection: Connection, stored: StoredKey) -> None:
    """Write the key, in place of the one of that id where there is one."""
    values = {
        "tenant": stored.key.tenant,
        "key": stored.key.SerializeToString(),
        "hash": stored.hash,
        "previous_hash": stored.previous_hash,
        "previous_until_ns": stored.previous_until_ns,
    }
    statement = insert(api_keys).values(id=stored.key.id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[api_keys.c.id], set_=values))
