"""The keys that a server knows, and who it is that calls with one of them."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from breezeway.v1 import key_pb2

from breezeway_server.engine.quota import ANY, Allowance, Rates
from breezeway_server.errors import Unauthenticated
from breezeway_server.services.caller import OPERATOR, Caller
from breezeway_server.store.base import StoredKey

# "bz_", the digits of the key's id, and 256 bits of chance.
_SECRET = re.compile(r"bz_([0-9a-f]{32})_[A-Za-z0-9_-]{43}", re.ASCII)
_SECRET_BYTES = 32

Metadata = Iterable[tuple[str, str | bytes]]


def new_secret(key_id: str) -> str:
    """Return a new secret for the key of that id."""
    return f"bz_{key_id.removeprefix('key_')}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def hash_of(secret: str) -> bytes:
    """Return what is kept of a secret.

    One fast hash is enough: slow ones protect what people choose and reuse, and nobody guesses 256 bits of chance.
    """
    return hashlib.sha256(secret.encode()).digest()


class KeyRing:
    """All keys: those of the store, and those of the environment, whose holders are operators."""

    def __init__(
        self,
        stored: Iterable[StoredKey],
        plain: Sequence[str] = (),
        *,
        rates: Rates = ANY,
        open_rates: Rates = ANY,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`plain` are the keys of the environment; `clock` gives nanoseconds since 1970.

        `rates` are for keys that have none of their own, `open_rates` for everybody while there are no keys.
        """
        self._clock = clock
        self._rates = rates
        self._plain = [hash_of(key) for key in plain]
        # A number says which of them it is: even a part of its hash must not get to places where ids are shown.
        self._operators = [
            replace(OPERATOR, allowance=Allowance(f"environment:{index}", rates)) for index in range(len(self._plain))
        ]
        self.everybody = replace(OPERATOR, allowance=Allowance("everybody", open_rates))
        """Whoever calls while there are no keys."""
        self._stored: dict[str, StoredKey] = {}
        self._callers: dict[str, Caller] = {}
        for each in stored:
            self.put(each)

    @property
    def guarded(self) -> bool:
        """Whether callers need a key: from the first one on, and also when none is left that is good."""
        return bool(self._plain or self._stored)

    @property
    def stored(self) -> list[StoredKey]:
        """The keys of the store, oldest first."""
        return list(self._stored.values())

    def find(self, key_id: str) -> StoredKey | None:
        """Return the key of that id."""
        return self._stored.get(key_id)

    def put(self, stored: StoredKey) -> None:
        """Take in a key of the store, in place of the one of that id where there is one."""
        key = stored.key
        scopes = set(key.scopes)
        if key_pb2.KEY_SCOPE_RUN in scopes:
            scopes.add(key_pb2.KEY_SCOPE_READ)
        self._stored[key.id] = stored
        allowance = Allowance(key.id, _rates(key.limits, self._rates), key.id)
        self._callers[key.id] = Caller(key.tenant, frozenset(scopes), frozenset(key.agents), allowance)

    def invalid(self, key: key_pb2.Key) -> Unauthenticated | None:
        """Return why a key is not good any more; None where it is."""
        if key.HasField("revoke_time"):
            return Unauthenticated("KEY_REVOKED", f"Key {key.id} was revoked; use another.")
        if key.HasField("expire_time") and key.expire_time.ToNanoseconds() <= self._clock():
            return Unauthenticated("KEY_EXPIRED", f"Key {key.id} has expired; use another.")
        return None

    def identify(self, metadata: Metadata) -> Caller:
        """Return whose credentials these are; one that is good is enough. Raises `Unauthenticated`."""
        refusal: Unauthenticated | None = None
        for name, value in metadata:
            presented = _presented(name, value)
            if presented is None:
                continue
            found = self._holder(presented)
            if isinstance(found, Caller):
                return found
            refusal = refusal or found
        raise refusal or Unauthenticated("KEY_MISSING", "This server needs a key; send it as Authorization: Bearer.")

    def _holder(self, presented: str) -> Caller | Unauthenticated:
        hashed = hash_of(presented)
        # All of them are compared, whichever fits, so that the time tells nothing.
        fits = [hmac.compare_digest(hashed, plain) for plain in self._plain]
        if any(fits):
            return self._operators[fits.index(True)]
        match = _SECRET.fullmatch(presented)
        stored = self._stored.get(f"key_{match[1]}") if match else None
        if stored is None or not self._fits(hashed, stored):
            return Unauthenticated("KEY_UNKNOWN", "This key is none of this server's; check it.")
        return self.invalid(stored.key) or self._callers[stored.key.id]

    def _fits(self, hashed: bytes, stored: StoredKey) -> bool:
        if hmac.compare_digest(hashed, stored.hash):
            return True
        return self._clock() < stored.previous_until_ns and hmac.compare_digest(hashed, stored.previous_hash)


def _rates(own: key_pb2.KeyLimits, default: Rates) -> Rates:
    """A key's own limits, of which 0 is none, and where it says nothing those of all keys."""
    return Rates(
        max_runs=own.max_runs or None if own.HasField("max_runs") else default.max_runs,
        requests_per_minute=(
            own.requests_per_minute or None if own.HasField("requests_per_minute") else default.requests_per_minute
        ),
        tokens_per_minute=(
            own.tokens_per_minute or None if own.HasField("tokens_per_minute") else default.tokens_per_minute
        ),
    )


def _presented(name: str, value: str | bytes) -> str | None:
    """What a pair of metadata presents as a key; None where it presents none."""
    if not isinstance(value, str):
        return None
    if name == "authorization":
        scheme, _, token = value.strip().partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None
    return value.strip() if name in {"x-api-key", "x-session-api-key"} else None
