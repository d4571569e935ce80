"""Following a run over the loss of its server: when the connection breaks, the stream goes on from where it was."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol

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


class Patience:
    """How long a server that was lost is waited for: `seconds` from the loss, or until `given_up` is set."""

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
    begin: Callable[[], EventCall],
    follow: Callable[[str, int], EventCall],
    patience: Patience,
    *,
    may_begin_again: Callable[[grpc.aio.AioRpcError], bool],
    leave: Callable[[str], Awaitable[None]],
    begun: Callable[[CallMetadata], None],
    shortcut: Shortcut,
    field_to_param: FieldToParam,
) -> Batches:
    """Yield a run's batches to its end, over as many calls as that takes: no event twice and none missing.

    `begin` makes the first call, and makes it again where it is lost before its first event and `may_begin_again`;
    `follow` makes the one that goes on with a run after a sequence. `begun` is told each call's metadata before its
    events. What went by the `shortcut` has come, too. A reader who closes this when the first call was lost is one
    whose leaving the server cannot see; `leave` is told the run then. Raises `ApiError`.
    """
    events: Events = ()
    run_id = ""  # of a run whose first call was lost
    loop = asyncio.get_running_loop()
    call, lost = begin(), False
    try:
        while True:
            # Nothing is done for an event here, and nothing for a batch but to remember it.
            known, opened = events, loop.time()
            try:
                begun(await call.initial_metadata())
                async for batch in call:
                    events = batch.events
                    yield events
            except grpc.aio.AioRpcError as error:
                events = _newer(events, shortcut.newest)
                if events is not known or loop.time() - opened > _CONNECTED_SECONDS:
                    patience.recovered()
                if lost and error.code() is grpc.StatusCode.NOT_FOUND:
                    raise run_gone() from error
                run_id = events[-1].run_id if events else run_id or _named_run(error)
                goes_on = server_lost(error) and (run_id or may_begin_again(error))
                if not (goes_on and await patience.lasts()):
                    raise rpc_failed(error, field_to_param) from error
            else:
                events = _newer(events, shortcut.newest)
                # Half an answer must not pass for a whole one. Who had everything gets nothing, and that is whole.
                if events and events[-1].WhichOneof("kind") not in _TERMINAL:
                    raise cut_short()
                return
            finally:
                call.cancel()
            lost = True
            call = follow(run_id, events[-1].sequence if events else 0) if run_id else begin()
    except (asyncio.CancelledError, GeneratorExit):
        if run_id and not (events and events[-1].WhichOneof("kind") in _TERMINAL):
            await leave(run_id)
        raise


def _named_run(error: grpc.aio.AioRpcError) -> str:
    """Return the run that a call which ended before its first event has begun, where the server tells."""
    return str((error.trailing_metadata() or grpc.aio.Metadata()).get(_RUN_ID, ""))


def _newer(events: Events, others: Events) -> Events:
    return others if others and (not events or others[-1].sequence > events[-1].sequence) else events
