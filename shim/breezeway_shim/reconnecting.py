"""Following a run over the loss of its server: when the connection breaks, the stream goes on from where it was."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import grpc
from breezeway.v1 import event_pb2

from breezeway_shim.errors import FieldToParam, cut_short, rpc_failed, run_gone, server_lost
from breezeway_shim.shortcut import Events, Shortcut

Batches = AsyncGenerator[Events, None]

CallMetadata = Iterable[tuple[str, str | bytes]] | None

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
# The channel gives up an attempt to connect long before this, so a call that was open for longer was connected.
_CONNECTED_SECONDS = 5.0

_RUN_ID = "breezeway-run-id"
_TERMINAL = frozenset({"run_completed", "run_incomplete", "run_failed", "run_cancelled"})


class _Batch(Protocol):
    @property
    def events(self) -> Sequence[event_pb2.RunEvent]: ...


class EventCall(Protocol):
    """A call of StreamRun or FollowRun that is under way."""

    def __aiter__(self) -> AsyncIterator[_Batch]: ...

    async def initial_metadata(self) -> CallMetadata:
        """Wait for what the server says before the first event, or for the end."""

    def cancel(self) -> bool:
        """End the call."""


class Beginning(NamedTuple):
    """How the events of a run are asked for, before any has come."""

    call: Callable[[], EventCall]
    """Makes the first call."""
    again: Callable[[grpc.aio.AioRpcError], bool]
    """Whether a call that failed before its first event may be made again."""
    field_to_param: FieldToParam
    """The caller's names for what the server may find fault with."""


class Patience:
    """How long a server that was lost is waited for: `seconds` from the loss, or until `given_up` is set."""

    __slots__ = ("_given_up", "_lost_at", "_pause", "_seconds")

    def __init__(self, seconds: float, given_up: asyncio.Event) -> None:
        self._seconds = seconds
        self._given_up = given_up
        self._lost_at: float | None = None
        self._pause = _FIRST_PAUSE

    def recovered(self) -> None:
        """The server is back; the next loss is waited out from its own beginning."""
        self._lost_at = None
        self._pause = _FIRST_PAUSE

    async def lasts(self) -> bool:
        """Pause, longer each time, and return True; False where the time is over."""
        now = asyncio.get_running_loop().time()
        if self._lost_at is None:
            self._lost_at = now
        left = self._lost_at + self._seconds - now
        if left <= 0 or self._given_up.is_set():
            return False
        try:
            async with asyncio.timeout(min(self._pause, left)):
                await self._given_up.wait()
        except TimeoutError:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return True
        return False


async def follow_through(  # noqa: C901  one loop over the ways in which a call ends
    beginning: Beginning,
    follow: Callable[[str, int], EventCall],
    patience: Patience,
    *,
    leave: Callable[[str], Awaitable[None]],
    begun: Callable[[CallMetadata], None],
    shortcut: Shortcut,
) -> Batches:
    """Yield a run's batches to its end, over as many calls as that takes: no event twice and none missing.

    `beginning` makes the first call, and is let go of after the first events; `follow` makes the one that goes on with
    a run after a sequence. `begun` is told each call's metadata before its events. What went by the `shortcut` has
    come, too. A reader who closes this when the first call was lost is one whose leaving the server cannot see; `leave`
    is told the run then. Raises `ApiError`.
    """
    run_id = ""  # of a run whose first call was lost
    loop = asyncio.get_running_loop()
    call, lost = beginning.call(), False
    # What is asked for may be as long as a book, and the stream be open for hours.
    held: Beginning | None = beginning
    del beginning
    try:
        while True:
            # Nothing is done for an event here, and nothing for a batch but to remember it.
            known, opened = shortcut.newest, loop.time()
            try:
                begun(await call.initial_metadata())
                async for batch in call:
                    shortcut.newest = batch.events
                    del batch
                    yield shortcut.newest
                    held = None
            except grpc.aio.AioRpcError as error:
                events = shortcut.newest
                if events is not known or loop.time() - opened > _CONNECTED_SECONDS:
                    patience.recovered()
                if lost and error.code() is grpc.StatusCode.NOT_FOUND:
                    raise run_gone() from error
                run_id = events[-1].run_id if events else run_id or _named_run(error)
                goes_on = server_lost(error) and (run_id or (held is not None and held.again(error)))
                if not (goes_on and await patience.lasts()):
                    raise rpc_failed(error, str if held is None else held.field_to_param) from error
            else:
                events = shortcut.newest
                # Half an answer must not pass for a whole one. Who had everything gets nothing, and that is whole.
                if events and events[-1].WhichOneof("kind") not in _TERMINAL:
                    raise cut_short()
                return
            finally:
                call.cancel()
            lost = True
            after = events[-1].sequence if events else 0
            call = follow(run_id, after) if run_id or held is None else held.call()
    except (asyncio.CancelledError, GeneratorExit):
        events = shortcut.newest
        if run_id and not (events and events[-1].WhichOneof("kind") in _TERMINAL):
            await leave(run_id)
        raise


def _named_run(error: grpc.aio.AioRpcError) -> str:
    """Return the run that a call which ended before its first event has begun, where the server tells."""
    return str((error.trailing_metadata() or grpc.aio.Metadata()).get(_RUN_ID, ""))
