"""`breezeway keys`: makes, lists, rotates and revokes API keys, in the store or over the API of its server."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from breezeway.v1 import key_pb2, key_service_pb2

from breezeway_server.config import load_settings

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SCOPES = {
    "read": key_pb2.KEY_SCOPE_READ,
    "run": key_pb2.KEY_SCOPE_RUN,
    "admin": key_pb2.KEY_SCOPE_ADMIN,
}
_FAILED = 1

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

    def __init__(self, data_dir: Path | None, target: str, api_key: str | None) -> None:
        self._data_dir = data_dir
        self._target = target
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()

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
        from breezeway_server.store.sqlite import StoreLocked, open_sqlite  # noqa: PLC0415

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
        from breezeway.v1.key_service_pb2_grpc import KeyServiceStub  # noqa: PLC0415

        async with grpc.aio.insecure_channel(self._target) as channel:
            try:
                await change(_Remote(KeyServiceStub(channel), self._metadata))
            except grpc.aio.AioRpcError as error:
                raise _Refused(f"The server at {self._target} says: {error.details()}") from error


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


@click.group()
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where the store lies.")
@click.option(
    "--target",
    metavar="HOST:PORT",
    envvar=["BREEZEWAY_GRPC_TARGET", "BREEZEWAY_GRPC_LISTEN"],
    default="127.0.0.1:50051",
    show_default=True,
    help="The server that has the store, while one runs.",
)
@click.option("--api-key", envvar="BREEZEWAY_API_KEY", help="An admin's key for that server, also BREEZEWAY_API_KEY.")
@click.pass_context
def keys(context: click.Context, data_dir: Path | None, target: str, api_key: str | None) -> None:
    """Make, list, rotate and revoke API keys."""
    context.obj = _Place(data_dir, target, api_key)


@keys.command()
@click.option("--name", default="", help="What to call it.")
@click.option("--tenant", default="", help="Whose runs and conversations it sees.  [default: default]")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(list(_SCOPES)), help="What it may do; run if none.")
@click.option("--agent", "agents", multiple=True, help="An agent that it may run; all if none.")
@click.option("--expires", type=_Span(), help="How long it is good, like 30d; for ever if not given.")
@click.pass_obj
def create(
    place: _Place, *, name: str, tenant: str, scopes: tuple[str, ...], agents: tuple[str, ...], expires: int | None
) -> None:
    """Make a key and print its secret, which is told once."""
    request = key_service_pb2.CreateKeyRequest(
        name=name, tenant=tenant, scopes=[_SCOPES[scope] for scope in scopes], agents=agents
    )
    if expires is not None:
        request.time_to_live.FromSeconds(expires)

    async def change(service: _Local | _Remote) -> None:
        _tell(await service.call("CreateKey", request))

    place.change(change)


@keys.command(name="list")
@click.pass_obj
def list_(place: _Place) -> None:
    """Print all keys, without their secrets."""

    async def change(service: _Local | _Remote) -> None:
        for key in (await service.call("ListKeys", key_service_pb2.ListKeysRequest())).keys:
            click.echo(_line(key))

    place.change(change)


@keys.command()
@click.argument("key_id")
@click.option(
    "--grace", type=_Span(), default=0, help="How long the old secret stays good, like 1h; not at all if none."
)
@click.pass_obj
def rotate(place: _Place, key_id: str, grace: int) -> None:
    """Give a key a new secret and print it; it is told once."""
    request = key_service_pb2.RotateKeyRequest(key_id=key_id)
    request.grace.FromSeconds(grace)

    async def change(service: _Local | _Remote) -> None:
        _tell(await service.call("RotateKey", request))

    place.change(change)


@keys.command()
@click.argument("key_id")
@click.pass_obj
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
    if key.name:
        parts.append(key.name)
    if key.HasField("expire_time"):
        parts.append(f"expires {key.expire_time.ToJsonString()}")
    if key.HasField("revoke_time"):
        parts.append(f"revoked {key.revoke_time.ToJsonString()}")
    return "  ".join(parts)
