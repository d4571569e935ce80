"""The rows of profiles: agents that were created over the API."""

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from breezeway_server.store import request_rows
from breezeway_server.store.base import Request, StoredProfile
from breezeway_server.store.schema import profile_requests, profiles


def put(connection: Connection, profile: StoredProfile, tenant: str, request: Request | None) -> None:
    """Keep the profile, in place of one of that name."""
    values = {
        **msgspec.structs.asdict(profile),
        "config": msgspec.json.encode(profile.config).decode(),
        "secret_keys": msgspec.json.encode(profile.secret_keys).decode(),
    }
    # Changed in place, because its request id goes with its row.
    if connection.execute(update(profiles).where(profiles.c.name == profile.name).values(values)).rowcount == 0:
        connection.execute(insert(profiles).values(values))
    if request is not None:
        request_rows.remember(connection, profile_requests, tenant, request, profile_name=profile.name)


def created(connection: Connection, tenant: str, request: Request) -> str | None:
    """Return the name of the profile that the request id made before. Raises `RequestIdReused`."""
    earlier = request_rows.find(connection, profile_requests, tenant, request)
    return None if earlier is None else str(earlier.profile_name)


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
