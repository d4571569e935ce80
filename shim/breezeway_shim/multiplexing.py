"""Many runs over one call of the server: what a run of its own would cost is paid once for all that is ready."""

import asyncio
from collections.abc import Mapping, Sequence

import grpc
from breezeway.v1 import event_pb2
from breezeway.v1.stream_service_pb2 import (
    MultiplexBatch,
    MultiplexRunsRequest,
    MultiplexRunsResponse,
    StreamRunRequest,
)
from google.rpc import status_pb2

from breezeway_shim.shortcut import Shortcut

# A client that is so many events behind is read for by a call of its own, which waits for it.
_MOST_PENDING = 2000

# So many times the loop goes round before a request whose bytes are here has asked for its run. No time passes for it:
# a loop with nothing else to do is through at once.
_PASSES = 4

_DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Ready:
    """The events that were ready together."""

    __slots__ = ("events",)

    def __init__(self, events: Sequence[event_pb2.RunEvent]) -> None:
        self.events = events


class MultiplexedRun:
    """One run of a `Multiplexer`: iterate over its batches; raises `grpc.aio.AioRpcError` like a call of its own.

    A reader that falls far behind gets what is there, and then UNAVAILABLE: it has to follow the run on its own.
    """

    __slots__ = (
        "_batches",
        "_end",
        "_ended",
        "_metadata",
        "_multiplexer",
        "_pending",
        "_shortcut",
        "_tag",
        "_waiter",
    )

    def __init__(self, multiplexer: "Multiplexer", tag: int, shortcut: Shortcut) -> None:
        self._multiplexer = multiplexer
        self._tag = tag
        self._shortcut = shortcut
        self._batches: list[MultiplexBatch] = []
        self._pending = 0
        self._waiter: asyncio.Future[None] | None = None
        self._end: Exception | None = None
        self._ended = False
        self._metadata: Sequence[tuple[str, str]] | None = None

    def __aiter__(self) -> "MultiplexedRun":
        """See `EventCall`."""
        return self

    async def __anext__(self) -> Ready | MultiplexBatch:
        """Return what is ready, or wait for it."""
        while not self._batches:
            if self._end is not None:
                raise self._end
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        batches, self._batches, self._pending = self._batches, [], 0
        if len(batches) == 1:
            return batches[0]
        return Ready([event for batch in batches for event in batch.events])

    async def initial_metadata(self) -> Sequence[tuple[str, str]]:
        """See `EventCall`."""
        while self._metadata is None and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._metadata or ()

    def cancel(self) -> bool:
        """End the call; return whether that was news. The server does what the run's disconnect policy says."""
        if self._ended:
            return False
        self._ended = True
        self._multiplexer.stop(self._tag, disconnected=True)
        return True

    def take(self, batch: MultiplexBatch) -> bool:
        """Take in what came for the tag; return whether more may come."""
        if first := self._metadata is None:
            # All that there is of it comes with the first batch.
            self._metadata = tuple(batch.metadata.items())
        events = batch.events
        if events and not self._passed_on(events):
            if self._ended:
                return False
            self._batches.append(batch)
            self._pending += len(events)
        if batch.HasField("end"):
            self.end(None if batch.end.code == 0 else _error(batch.end, batch.metadata))
            return False
        if self._pending > _MOST_PENDING:
            self._multiplexer.stop(self._tag, disconnected=False)
            self.end(_lost("The reader is far behind."))
            return False
        if self._batches or first:
            self._wake()
        return True

    def _passed_on(self, events: Sequence[event_pb2.RunEvent]) -> bool:
        # A reader that waits here has dealt with all that came before.
        if self._waiter is None or self._waiter.done() or self._batches:
            return False
        try:
            return self._shortcut.offer(events)
        except Exception as fault:  # noqa: BLE001 - the fault of one reader, which is where it is raised, must not end the others
            self.cancel()
            self.end(fault)
            return False

    def end(self, error: Exception | None) -> None:
        """Take note that nothing more comes."""
        self._ended = True
        self._end = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Multiplexer:
    """Starts runs over one call, which is made when it is needed and made again when it was lost."""

    def __init__(
        self, method: "grpc.aio.StreamStreamMultiCallable[MultiplexRunsRequest, MultiplexRunsResponse]"
    ) -> None:
        self._method = method
        self._runs: dict[int, MultiplexedRun] = {}
        self._last_tag = 0
        self._wanted = MultiplexRunsRequest()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(
        self, request: StreamRunRequest, metadata: Sequence[tuple[str, str]], shortcut: Shortcut
    ) -> MultiplexedRun:
        """Ask for a run, and return what comes of it, but for what goes by the shortcut."""
        self._last_tag += 1
        run = self._runs[self._last_tag] = MultiplexedRun(self, self._last_tag, shortcut)
        self._wanted.starts.add(tag=self._last_tag, run=request, metadata=dict(metadata))
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._carry(), name="multiplexer")
        return run

    def stop(self, tag: int, *, disconnected: bool) -> None:
        """Ask for nothing more of a run."""
        if self._runs.pop(tag, None) is not None:
            self._wanted.stops.add(tag=tag, disconnected=disconnected)
            self._wake.set()

    async def close(self) -> None:
        """End the call, and with it all runs that are left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _carry(self) -> None:
        """Keep the call until it is lost; the runs that were on it then learn so, and later ones get a new call."""
        call = self._method()
        asking = asyncio.create_task(self._ask(call), name="multiplexer-requests")
        error = _lost("The server ended the call.")
        try:
            async for response in call:
                for batch in response.batches:
                    run = self._runs.get(batch.tag)
                    if run is not None and not run.take(batch):
                        self._runs.pop(batch.tag, None)
        except grpc.aio.AioRpcError as lost:
            error = lost
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            call.cancel()
            runs, self._runs = self._runs, {}
            self._wanted.Clear()
            # Whoever starts a run from now on must find that this call is over.
            self._task = None
            for run in runs.values():
                run.end(error)

    async def _ask(self, call: "grpc.aio.StreamStreamCall[MultiplexRunsRequest, MultiplexRunsResponse]") -> None:
        while True:
            await self._wake.wait()
            # A message costs more than the run in it: requests that are on their way through the process go along.
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            self._wake.clear()
            wanted, self._wanted = self._wanted, MultiplexRunsRequest()
            await call.write(wanted)


def _lost(message: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), message)


def _error(status: status_pb2.Status, metadata: Mapping[str, str]) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*metadata.items())
    if status.details:
        trailing.add(_DETAILS_KEY, status.SerializeToString())
    code = _CODES[status.code]
    if code is grpc.StatusCode.ABORTED and not status.details:
        # The server asks for a call of its own, which is what is done about UNAVAILABLE.
        code = grpc.StatusCode.UNAVAILABLE
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, status.message)
