"""The rows of profiles: agents that were created over the API."""

import msgspec
from sqlalchemy import Connection, delete, insert, select

from breezeway_server.store.base import StoredProfile
from breezeway_server.store.schema import profiles


def put(connection: Connection, profile: StoredProfile) -> None:
    """Keep the profile, in place of one of that name."""
    connection.execute(delete(profiles).where(profiles.c.name == profile.name))
    values = {
        **msgspec.structs.asdict(profile),
        "config": msgspec.json.encode(profile.config).decode(),
        "secret_keys": msgspec.json.encode(profile.secret_keys).decode(),
    }
    connection.execute(insert(profiles).values(values))


def list_(connection: Connection) -> list[StoredProfile]:
    """Return all profiles by name."""
    return [
        StoredProfile(
            name=row.name,
            config=msgspec.json.decode(row.config),
            secret_keys=tuple(msgspec.json.decode(row.secret_keys)),
            secrets=row.secrets,
            create_time_ns=row.create_time_ns,
            update_time_ns=row.update_time_ns,
        )
        for row in connection.execute(select(profiles).order_by(profiles.c.name))
    ]


def delete_(connection: Connection, name: str) -> None:
    """Forget the profile."""
    connection.execute(delete(profiles).where(profiles.c.name == name))
