"""KeyService: makes, lists, changes, rotates and revokes API keys."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence

from breezeway.v1 import key_pb2, key_service_pb2, key_service_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from breezeway_server.errors import FailedPrecondition, InvalidRequest, NotFound, PermissionDenied
from breezeway_server.events.ids import Uuid7
from breezeway_server.services.caller import Caller, current_caller
from breezeway_server.services.context import Context
from breezeway_server.services.keyring import KeyRing, hash_of, new_secret
from breezeway_server.store.base import Store, StoredKey

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MAX_NAME = 128
_MAX_AGENTS = 100
# The longest Duration there is, ten thousand years, would not fit a Timestamp.
_MAX_SECONDS = 100 * 366 * 86400


class KeyService(key_service_pb2_grpc.KeyServiceServicer):
    """Changes the store first and the ring then: a key that was told is there after a crash."""

    def __init__(self, store: Store, keys: KeyRing, new_id: Uuid7, *, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._store = store
        self._keys = keys
        self._new_id = new_id
        self._clock = clock
        # A revocation must not get lost in a rotation that began before it.
        self._changing = asyncio.Lock()

    async def CreateKey(
        self, request: key_service_pb2.CreateKeyRequest, context: Context
    ) -> key_service_pb2.CreateKeyResponse:
        """See key_service.proto."""
        caller = current_caller()
        key = key_pb2.Key(
            id=f"key_{self._new_id()}",
            name=_name(request.name),
            tenant=_tenant(request.tenant, caller),
            scopes=_scopes(request.scopes),
            agents=_agents(request.agents),
        )
        if request.HasField("limits"):
            key.limits.CopyFrom(request.limits)
        now = self._clock()
        key.create_time.FromNanoseconds(now)
        if request.HasField("time_to_live"):
            lifetime = _nanoseconds(request.time_to_live, "time_to_live")
            if lifetime == 0:
                raise InvalidRequest("time_to_live", "time_to_live is 0; leave it out for a key that stays good.")
            key.expire_time.FromNanoseconds(now + lifetime)
        secret = new_secret(key.id)
        await self._put(StoredKey(key, hash_of(secret)))
        return key_service_pb2.CreateKeyResponse(key=key, secret=secret)

    async def ListKeys(
        self, request: key_service_pb2.ListKeysRequest, context: Context
    ) -> key_service_pb2.ListKeysResponse:
        """See key_service.proto."""
        caller = current_caller()
        keys = [stored.key for stored in self._keys.stored if _may_see(caller, stored.key)]
        return key_service_pb2.ListKeysResponse(keys=keys)

    async def UpdateKey(
        self, request: key_service_pb2.UpdateKeyRequest, context: Context
    ) -> key_service_pb2.UpdateKeyResponse:
        """See key_service.proto."""
        async with self._changing:
            before = self._find(request.key_id)
            key = key_pb2.Key()
            key.CopyFrom(before.key)
            key.ClearField("limits")
            if request.HasField("limits"):
                key.limits.CopyFrom(request.limits)
            await self._put(replace(before, key=key))
        return key_service_pb2.UpdateKeyResponse(key=key)

    async def RotateKey(
        self, request: key_service_pb2.RotateKeyRequest, context: Context
    ) -> key_service_pb2.RotateKeyResponse:
        """See key_service.proto."""
        grace = _nanoseconds(request.grace, "grace")
        async with self._changing:
            before = self._find(request.key_id)
            invalid = self._keys.invalid(before.key)
            if invalid is not None:
                raise FailedPrecondition("KEY_NOT_VALID", f"{invalid.message} A new key can be created.")
            secret = new_secret(before.key.id)
            previous = before.hash if grace else b""
            until = self._clock() + grace if grace else 0
            await self._put(StoredKey(before.key, hash_of(secret), previous, until))
        return key_service_pb2.RotateKeyResponse(key=before.key, secret=secret)

    async def RevokeKey(
        self, request: key_service_pb2.RevokeKeyRequest, context: Context
    ) -> key_service_pb2.RevokeKeyResponse:
        """See key_service.proto."""
        async with self._changing:
            before = self._find(request.key_id)
            key = key_pb2.Key()
            key.CopyFrom(before.key)
            if not key.HasField("revoke_time"):
                key.revoke_time.FromNanoseconds(self._clock())
                await self._put(StoredKey(key, before.hash))
        return key_service_pb2.RevokeKeyResponse(key=key)

    def _find(self, key_id: str) -> StoredKey:
        stored = self._keys.find(key_id)
        if stored is None or not _may_see(current_caller(), stored.key):
            raise NotFound("KEY_NOT_FOUND", f"There is no key {key_id[:64]!r}.")
        return stored

    async def _put(self, stored: StoredKey) -> None:
        await self._store.put_key(stored)
        self._keys.put(stored)


def _may_see(caller: Caller, key: key_pb2.Key) -> bool:
    return caller.operator or caller.tenant == key.tenant


def _name(name: str) -> str:
    if len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidRequest("name", f"name must be at most {_MAX_NAME} printable characters.")
    return name


def _tenant(tenant: str, caller: Caller) -> str:
    if not tenant:
        return caller.tenant
    if not _TENANT.fullmatch(tenant):
        raise InvalidRequest("tenant", "tenant must be letters, digits, dots, underscores and hyphens, at most 64.")
    if tenant != caller.tenant and not caller.operator:
        raise PermissionDenied("TENANT_DENIED", "Keys of another tenant are for the operator to make.")
    return tenant


def _scopes(scopes: Sequence[key_pb2.KeyScope.ValueType]) -> Sequence[key_pb2.KeyScope.ValueType]:
    for index, scope in enumerate(scopes):
        if scope == key_pb2.KEY_SCOPE_UNSPECIFIED or scope not in key_pb2.KeyScope.values():
            raise InvalidRequest(f"scopes[{index}]", f"scopes[{index}] is none; there are READ, RUN and ADMIN.")
    return sorted(set(scopes)) or [key_pb2.KEY_SCOPE_RUN]


def _agents(agents: Sequence[str]) -> Sequence[str]:
    if len(agents) > _MAX_AGENTS:
        raise InvalidRequest("agents", f"agents has {len(agents)} names; it may have {_MAX_AGENTS}.")
    for index, name in enumerate(agents):
        if not name or len(name) > _MAX_NAME:
            raise InvalidRequest(f"agents[{index}]", f"agents[{index}] must be the name of an agent.")
    return sorted(set(agents))


def _nanoseconds(duration: Duration, field: str) -> int:
    if not 0 <= duration.seconds <= _MAX_SECONDS or not 0 <= duration.nanos < 10**9:
        raise InvalidRequest(field, f"{field} must lie between 0 and {_MAX_SECONDS} seconds.")
    return duration.seconds * 10**9 + duration.nanos
