"""MultiplexRuns: the events of many runs over one call, in one message for all that is ready."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import grpc
from breezeway.telemetry.rpc import begin_call, end_call
from breezeway.telemetry.traces import Kind, Span, Tracer
from breezeway.v1 import stream_service_pb2
from google.rpc import status_pb2

from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import BreezewayError
from breezeway_server.events.framing import element
from breezeway_server.events.gathering import Gathering
from breezeway_server.events.run_log import RunLog
from breezeway_server.services import runs
from breezeway_server.services.access import STREAM_RUN, Gate
from breezeway_server.services.arrival import arrive, link_to_run
from breezeway_server.services.context import Context
from breezeway_server.services.interceptor import internal_status, metadata_of, status_of
from breezeway_server.services.malformed import MALFORMED, malformed
from breezeway_server.services.rates import Pairs, rate_metadata

# One message holds about this much, whoever is how far behind: the others wait for it.
_MESSAGE_BYTES = 64 * 1024

# Names the run that a caller should follow by a call of its own.
RUN_ID = "breezeway-run-id"

_OK = status_pb2.Status()
_FOLLOW_AGAIN = status_pb2.Status(code=grpc.StatusCode.ABORTED.value[0], message="Use a call for this run alone.")


def _nothing() -> None:
    """Watch nothing yet."""


class _Follower:
    """One tag: a cursor into one run's log."""

    __slots__ = (
        "_encoded_tag",
        "_whole",
        "cancels",
        "cursor",
        "due",
        "log",
        "milestones",
        "span",
        "tag",
        "tenant",
        "waits",
        "watcher",
    )

    def __init__(self, start: stream_service_pb2.MultiplexStart, tenant: str, log: RunLog, span: Span) -> None:
        self.span = span
        self.tag = start.tag
        self._encoded_tag = stream_service_pb2.MultiplexBatch(tag=start.tag).SerializeToString()
        self.tenant = tenant
        self.log = log
        self.cursor = 0
        self.milestones = start.run.detail == stream_service_pb2.STREAM_DETAIL_ITEMS
        # Who only collects has no use for a part, but to come back with it, and to a run in memory nobody can.
        self._whole = self.milestones and not log.logged
        self.cancels = runs.cancels(start.run)
        self.due = False
        # Waits for the first words, which are not held back for company.
        self.waits = not self.milestones
        self.watcher: Callable[[], None] = _nothing

    @property
    def wants(self) -> bool:
        """Whether what is ready is wanted now."""
        return not self._whole or self.log.over or self.log.error is not None

    def batch(self, frames: bytes, end: status_pb2.Status | None) -> bytes:
        """Return these frames, and the end where it is there, as an encoded batch of the tag."""
        # The frames are the batch's field 1 as they are (events.framing).
        batch = frames + self._encoded_tag
        if end is not None:
            metadata = {RUN_ID: self.log.run_id} if end is _FOLLOW_AGAIN else {}
            batch += stream_service_pb2.MultiplexBatch(end=end, metadata=metadata).SerializeToString()
        return element(batch)

    def take(self) -> tuple[bytes, status_pb2.Status | None]:
        """Return what is ready as joined frames, and how it ends where it does."""
        log = self.log
        if self.cursor + 1 < log.first:
            # What lies between is only in the store: not worth holding up the others.
            return b"", _FOLLOW_AGAIN
        frames = b""
        if self.cursor < log.visible:
            self.cursor, frames = log.read(self.cursor, milestones=self.milestones)
        if self.cursor < log.visible:
            return frames, None
        if log.over:
            return frames, _OK
        if isinstance(log.error, BreezewayError):
            return frames, status_of(log.error)
        return frames, None


class Multiplex:
    """One call of MultiplexRuns."""

    def __init__(self, supervisor: Supervisor, gate: Gate, context: Context, tracer: Tracer) -> None:
        self._tracer = tracer
        self._supervisor = supervisor
        self._gate = gate
        self._context = context
        self._followers: dict[int, _Follower] = {}
        self._starting: dict[int, asyncio.Task[None]] = {}
        self._due: list[_Follower] = []
        # What is sent before all events: metadata of runs that begin, and the ends of those that cannot.
        self._first: list[bytes] = []
        self._wake = asyncio.Event()
        self._gathering = Gathering(time.monotonic)

    async def serve(self, requests: AsyncIterator[stream_service_pb2.MultiplexRunsRequest]) -> None:
        """Follow what the caller starts until it has no more to ask and all of that has ended."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while not (reading.done() and not self._followers and not self._starting):
                await self._wake.wait()
                await self._gathering.company()
                self._wake.clear()
                await self._write()
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, *self._starting.values(), return_exceptions=True)
            for follower in list(self._followers.values()):
                self._stop(follower, disconnected=True)

    async def _read(self, requests: AsyncIterator[stream_service_pb2.MultiplexRunsRequest]) -> None:
        try:
            async for request in requests:
                if request is MALFORMED:
                    raise malformed()
                for start in request.starts:
                    self._starting[start.tag] = asyncio.create_task(self._start(start))
                for stop in request.stops:
                    self._stop_tag(stop)
        finally:
            for task in self._starting.values():
                task.cancel()
            self._wake.set()

    async def _start(self, start: stream_service_pb2.MultiplexStart) -> None:
        metadata = [(name, start.metadata[name]) for name in start.metadata]
        span = begin_call(arrive(self._tracer, metadata), STREAM_RUN, Kind.SERVER)
        span.enter()
        try:
            # Each start is somebody else's: the call's own metadata says nothing of them.
            caller = self._gate.admit(STREAM_RUN, metadata)
            run = start.run
            run_id = await runs.create(self._supervisor, caller, run.spec, run.input, run.request_id)
        except BreezewayError as error:
            end_call(span, error.code)
            self._end(start.tag, status_of(error), metadata_of(error))
        except asyncio.CancelledError:
            end_call(span, grpc.StatusCode.CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours must end this start, and not the others
            end_call(span, grpc.StatusCode.INTERNAL)
            self._end(start.tag, internal_status(error))
        else:
            await link_to_run(self._supervisor, caller.tenant, run_id)
            log = self._supervisor.live_log(caller.tenant, run_id)
            if log is None:
                # A run of an earlier request with the same id, which is over or far along.
                end_call(span, grpc.StatusCode.ABORTED)
                self._end(start.tag, _FOLLOW_AGAIN, ((RUN_ID, run_id),))
            else:
                self._tell(start.tag, rate_metadata(self._supervisor, caller))
                self._follow(_Follower(start, caller.tenant, log, span))
        finally:
            self._starting.pop(start.tag, None)

    def _follow(self, follower: _Follower) -> None:
        self._followers[follower.tag] = follower
        if follower.waits:
            follower.log.await_answer()
        follower.watcher = partial(self._mark, follower)
        follower.log.watch(follower.watcher)
        self._supervisor.readers.add(follower)
        self._mark(follower)

    def _mark(self, follower: _Follower) -> None:
        if follower.waits and 0 < follower.log.answered_at <= follower.log.visible:
            follower.waits = False
            self._gathering.hurry()
        if not follower.due and follower.wants:
            follower.due = True
            self._due.append(follower)
            self._wake.set()

    def _tell(self, tag: int, metadata: Pairs) -> None:
        if metadata:
            batch = stream_service_pb2.MultiplexBatch(tag=tag, metadata=dict(metadata))
            self._first.append(element(batch.SerializeToString()))

    def _end(self, tag: int, status: status_pb2.Status, metadata: Pairs = ()) -> None:
        batch = stream_service_pb2.MultiplexBatch(tag=tag, end=status, metadata=dict(metadata))
        self._first.append(element(batch.SerializeToString()))
        self._wake.set()

    def _stop_tag(self, stop: stream_service_pb2.MultiplexStop) -> None:
        starting = self._starting.get(stop.tag)
        if starting is not None:
            starting.cancel()
        follower = self._followers.get(stop.tag)
        if follower is not None:
            self._stop(follower, disconnected=stop.disconnected)

    def _stop(self, follower: _Follower, *, disconnected: bool) -> None:
        del self._followers[follower.tag]
        follower.log.unwatch(follower.watcher)
        self._supervisor.readers.discard(follower)
        end_call(follower.span, grpc.StatusCode.CANCELLED if disconnected else grpc.StatusCode.OK)
        if disconnected and follower.cancels:
            self._supervisor.cancel_soon(follower.tenant, follower.log.run_id)
        self._wake.set()

    async def _write(self) -> None:
        """Send what is ready for all tags in one message; a part of it where it is very much."""
        due, self._due = self._due, []
        batches, self._first = self._first, []
        events, size = len(batches), 0
        for follower in due:
            follower.due = False
            if follower.tag not in self._followers:
                continue
            if size > _MESSAGE_BYTES:
                self._mark(follower)
                continue
            before = follower.cursor
            frames, end = follower.take()
            if frames or end is not None:
                batches.append(follower.batch(frames, end))
                events += follower.cursor - before
                size += len(frames)
            if end is not None:
                self._stop(follower, disconnected=False)
            elif follower.cursor < follower.log.visible:
                self._mark(follower)
        if batches:
            await self._context.write(b"".join(batches))
            self._gathering.sent(events)
