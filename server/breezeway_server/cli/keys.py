"""`breezeway keys`: makes, lists, limits, rotates and revokes API keys, in the store or over the API of its server."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from breezeway.v1 import key_pb2, key_service_pb2

from breezeway_server.cli.connection import Connection, connected
from breezeway_server.config import load_settings

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SCOPES = {
    "read": key_pb2.KEY_SCOPE_READ,
    "run": key_pb2.KEY_SCOPE_RUN,
    "admin": key_pb2.KEY_SCOPE_ADMIN,
}
_FAILED = 1
_AMOUNT = click.IntRange(0, 2**32 - 1)

Change = Callable[[Any], Awaitable[None]]


class _Span(click.ParamType[int, int]):
    """A number and a unit, as seconds."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", value)
        if match is None:
            self.fail("must be a number with s, m, h or d behind it, like 30d.", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


class _Place:
    """Where the keys are."""

    def __init__(self, data_dir: Path | None, connection: Connection) -> None:
        self._data_dir = data_dir
        self._connection = connection

    def change(self, change: Change) -> None:
        """Call `change` with what has KeyService's methods. Ends the process where that fails."""
        try:
            asyncio.run(self._change(change))
        except _Refused as error:
            click.echo(str(error), err=True)
            sys.exit(_FAILED)

    async def _change(self, change: Change) -> None:
        # Loading these takes a while, which nobody who only wants another command should wait for.
        from breezeway_server.errors import BreezewayError  # noqa: PLC0415
        from breezeway_server.events.ids import Uuid7  # noqa: PLC0415
        from breezeway_server.services.caller import OPERATOR, enter_call  # noqa: PLC0415
        from breezeway_server.services.keyring import KeyRing  # noqa: PLC0415
        from breezeway_server.services.keys import KeyService  # noqa: PLC0415
        from breezeway_server.store.database import StoreLocked  # noqa: PLC0415
        from breezeway_server.store.sqlite import open_sqlite  # noqa: PLC0415

        flags = {} if self._data_dir is None else {"data_dir": self._data_dir}
        settings = load_settings({}, flags, "configuration")
        try:
            store = open_sqlite(settings.data_dir, settings.synchronous)
        except StoreLocked:
            await self._change_over_api(change)
            return
        try:
            enter_call(OPERATOR)
            await change(_Local(KeyService(store, KeyRing(await store.list_keys()), Uuid7())))
        except BreezewayError as error:
            raise _Refused(error.message) from error
        finally:
            await store.close()

    async def _change_over_api(self, change: Change) -> None:
        import grpc  # noqa: PLC0415 - see above
        from breezeway.client.errors import error_of  # noqa: PLC0415
        from breezeway.v1.key_service_pb2_grpc import KeyServiceStub  # noqa: PLC0415

        async with self._connection.async_channel() as channel:
            try:
                await change(_Remote(KeyServiceStub(channel), self._connection.metadata))
            except grpc.aio.AioRpcError as error:
                raise _Refused(self._connection.explain(error_of(error))) from error


class _Refused(Exception):
    """What the service said."""


class _Local:
    """The service itself."""

    def __init__(self, service: Any) -> None:
        self._service = service

    async def call(self, method: str, request: Any) -> Any:
        """Return the reply."""
        return await getattr(self._service, method)(request, None)


class _Remote:
    """The service of a server that runs."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stub = stub
        self._metadata = metadata

    async def call(self, method: str, request: Any) -> Any:
        """Return the reply."""
        return await getattr(self._stub, method)(request, metadata=self._metadata)


def _placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where the keys are; it gets them as `place`."""

    @click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the store lies.")
    @connected
    @wraps(command)
    def call(*, data_dir: Path | None, connection: Connection, **given: object) -> None:
        command(_Place(data_dir, connection), **given)

    return call


def _limits(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that sets limits."""
    for option in (
        click.option("--tokens-per-minute", type=_AMOUNT, help="Tokens that its runs may use in a minute."),
        click.option("--requests-per-minute", type=_AMOUNT, help="Runs that it may create in a minute."),
        click.option("--max-runs", type=_AMOUNT, help="Runs of it under way at once."),
    ):
        command = option(command)
    return command


@click.group()
def keys() -> None:
    """Make, list, limit, rotate and revoke API keys: in the store, or over its server with an admin's key."""


@keys.command()
@click.option("--name", default="", help="What to call it.")
@click.option("--tenant", default="", help="Whose runs and conversations it sees.  [default: default]")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(list(_SCOPES)), help="What it may do; run if none.")
@click.option("--agent", "agents", multiple=True, help="An agent that it may run; all if none.")
@click.option("--expires", type=_Span(), help="How long it is good, like 30d; for ever if not given.")
@_limits
@_placed
def create(
    place: _Place,
    *,
    name: str,
    tenant: str,
    scopes: tuple[str, ...],
    agents: tuple[str, ...],
    expires: int | None,
    **limits: int | None,
) -> None:
    """Make a key and print its secret, which is told once.

    A limit that is not given is the one that the server has for all keys; 0 is no limit.
    """
    request = key_service_pb2.CreateKeyRequest(
        name=name,
        tenant=tenant,
        scopes=[_SCOPES[scope] for scope in scopes],
        agents=agents,
        limits=key_pb2.KeyLimits(**limits),
    )
    if expires is not None:
        request.time_to_live.FromSeconds(expires)

    async def change(service: _Local | _Remote) -> None:
        _tell(await service.call("CreateKey", request))

    place.change(change)


@keys.command(name="list")
@_placed
def list_(place: _Place) -> None:
    """Print all keys, without their secrets."""

    async def change(service: _Local | _Remote) -> None:
        for key in (await service.call("ListKeys", key_service_pb2.ListKeysRequest())).keys:
            click.echo(_line(key))

    place.change(change)


@keys.command()
@click.argument("key_id")
@_limits
@_placed
def limit(place: _Place, key_id: str, **limits: int | None) -> None:
    """Replace a key's limits.

    A limit that is not given is the one that the server has for all keys; 0 is no limit.
    """
    request = key_service_pb2.UpdateKeyRequest(key_id=key_id, limits=key_pb2.KeyLimits(**limits))

    async def change(service: _Local | _Remote) -> None:
        click.echo(_line((await service.call("UpdateKey", request)).key))

    place.change(change)


@keys.command()
@click.argument("key_id")
@click.option(
    "--grace", type=_Span(), default=0, help="How long the old secret stays good, like 1h; not at all if none."
)
@_placed
def rotate(place: _Place, key_id: str, grace: int) -> None:
    """Give a key a new secret and print it; it is told once."""
    request = key_service_pb2.RotateKeyRequest(key_id=key_id)
    request.grace.FromSeconds(grace)

    async def change(service: _Local | _Remote) -> None:
        _tell(await service.call("RotateKey", request))

    place.change(change)


@keys.command()
@click.argument("key_id")
@_placed
def revoke(place: _Place, key_id: str) -> None:
    """Refuse a key from now on."""

    async def change(service: _Local | _Remote) -> None:
        reply = await service.call("RevokeKey", key_service_pb2.RevokeKeyRequest(key_id=key_id))
        click.echo(_line(reply.key))

    place.change(change)


def _tell(reply: Any) -> None:
    click.echo(_line(reply.key), err=True)
    click.echo(reply.secret)


def _line(key: key_pb2.Key) -> str:
    scopes = ",".join(key_pb2.KeyScope.Name(scope).removeprefix("KEY_SCOPE_").lower() for scope in key.scopes)
    parts = [key.id, key.tenant, scopes, f"agents={','.join(key.agents) or 'all'}"]
    parts += [f"{field.name}={value or 'any'}" for field, value in key.limits.ListFields()]
    if key.name:
        parts.append(key.name)
    if key.HasField("expire_time"):
        parts.append(f"expires {key.expire_time.ToJsonString()}")
    if key.HasField("revoke_time"):
        parts.append(f"revoked {key.revoke_time.ToJsonString()}")
    return "  ".join(parts)
