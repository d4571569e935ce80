"""What the log asks of a store, and the shapes that go between them."""

from collections.abc import Sequence
from typing import Protocol

from breezeway.v1 import item_pb2, run_pb2
from msgspec import Struct


class NewRun(Struct, frozen=True, kw_only=True):
    """What the store writes of a run when it is accepted, beside its first events; the time is in ns since 1970."""

    tenant: str
    spec: run_pb2.RunSpec
    input: Sequence[item_pb2.Item]
    create_time_ns: int
    request_id: str = ""
    request_hash: bytes = b""


class Append(Struct, kw_only=True):
    """The events of one run that become durable together, and what of them the store keeps apart.

    `frames` are the framed events `first` to `last`. `state` is the run's state after them where they changed it.
    `items` ended among them. `result` is the run without spec, input and output, where the last one is terminal.
    """

    run_id: str
    attempt: int
    first: int
    last: int = 0
    frames: list[bytes] = []
    state: run_pb2.RunState.ValueType | None = None
    new: NewRun | None = None
    items: list[item_pb2.Item] = []
    result: run_pb2.Run | None = None


class StoredFrames(Struct, frozen=True):
    """Events `first` to `last` of one run as they lie in a store: frames, joined."""

    first: int
    last: int
    frames: bytes


class LogStore(Protocol):
    """Where the log makes events durable."""

    async def append(self, appends: Sequence[Append]) -> frozenset[str]:
        """Write them all in one transaction, each only if its attempt is still the run's; durable on return.

        Returns the ids of runs whose attempt is no longer the run's, or that are gone: nothing of theirs was written.
        Raises `Unavailable` where the store cannot write now; then nothing at all was written.
        """

    async def read_events(self, run_id: str, after: int, limit: int) -> list[StoredFrames]:
        """Return events above `after`, oldest first: at least one batch if there is any, about `limit` bytes.

        The first batch may begin at or below `after`. Raises `CursorExpired` where events above `after` are no longer
        kept.
        """
