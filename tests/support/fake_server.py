"""A gRPC server that plays kept logs and given replies, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import grpc
from breezeway.v1 import (
    agent_registry_service_pb2,
    event_pb2,
    job_service_pb2,
    run_service_pb2,
    store_service_pb2,
    stream_service_pb2,
)
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from tests.support.logs import read_log

_FILES = (agent_registry_service_pb2, job_service_pb2, run_service_pb2, store_service_pb2, stream_service_pb2)
_DELTAS = {"text_delta", "refusal_delta", "reasoning_delta", "tool_arguments_delta", "tool_progress"}


class Lost:
    """Fails the first call that comes to it; those that come later pass."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.status = status
        self.met = False


Step: TypeAlias = Sequence[event_pb2.RunEvent] | asyncio.Event | status_pb2.Status | Lost
"""A batch to send, an event to wait for, the status to fail with, or that with which one call fails."""


class Call(NamedTuple):
    """A call that came in."""

    method: str
    request: Any
    metadata: dict[str, str]


class FakeServer:
    """Streams play `steps`; unary calls answer with `replies`, by method name: a reply, a status, or a function.

    FollowRun plays the events above its sequence. Deltas are left out where the request asks for items.
    """

    def __init__(self) -> None:
        self._server = grpc.aio.server()
        self._port = 0
        self.calls: list[Call] = []
        self.steps: list[Step] = []
        self.replies: dict[str, Message | status_pb2.Status | Callable[[Any], Message | status_pb2.Status]] = {}
        # Fails the next call without a word of the server's, as a broken connection does.
        self.breaks_once: grpc.StatusCode | None = None
        # What creating calls say of the caller's limits, and refused ones too where they share a call.
        self.rate_limits: dict[str, str] = {}
        self.called = asyncio.Event()
        self.followed = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.health = health.aio.HealthServicer()

    @property
    def target(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Serve; on the port of the last time, where there was one."""
        self._server = grpc.aio.server()
        self._port = self._server.add_insecure_port(self.target)
        for file in _FILES:
            for service in file.DESCRIPTOR.services_by_name.values():
                handlers = {method.name: _handler(self, method) for method in service.methods}
                handler = grpc.method_handlers_generic_handler(service.full_name, handlers)
                self._server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self) -> None:
        """Break all connections, and refuse new ones until the next start."""
        await self._server.stop(grace=None)

    def plays(self, log: str | Sequence[event_pb2.RunEvent]) -> None:
        """Play a log, one event a batch."""
        events = read_log(log) if isinstance(log, str) else log
        self.steps = [[event] for event in events]

    async def unary(self, method: str, request: Any, context: Any) -> Any:
        await self._note(method, request, context)
        if method == "CreateRun":
            await context.send_initial_metadata(tuple(self.rate_limits.items()))
        reply = self.replies[method]
        if callable(reply):
            reply = reply(request)
        if isinstance(reply, status_pb2.Status):
            await context.abort_with_status(rpc_status.to_status(reply))
        return reply

    async def stream(self, method: str, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        await self._note(method, request, context)
        if method == "StreamRun":
            await context.send_initial_metadata(tuple(self.rate_limits.items()))
        only_items = request.detail == stream_service_pb2.STREAM_DETAIL_ITEMS
        after = request.after_sequence if method == "FollowRun" else 0
        for step in self.steps:
            if isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, Lost):
                if not step.met:
                    step.met = True
                    await context.abort_with_status(rpc_status.to_status(step.status))
            elif isinstance(step, status_pb2.Status):
                await context.abort_with_status(rpc_status.to_status(step))
            elif events := [
                event
                for event in step
                if event.sequence > after and not (only_items and event.WhichOneof("kind") in _DELTAS)
            ]:
                # The two responses are the same on the wire.
                yield stream_service_pb2.StreamRunResponse(events=events)

    async def _note(self, method: str, request: Any, context: Any) -> None:
        self.calls.append(Call(method, request, dict(context.invocation_metadata())))
        self.called.set()
        if method == "FollowRun":
            self.followed.set()
        if code := self.breaks_once:
            self.breaks_once = None
            await context.abort(code, "recvmsg: Connection reset by peer")

    async def _break_shared(self, request: Any, context: Any) -> None:
        if self.breaks_once:
            # A connection that breaks takes all runs with it.
            await self._note("StreamRun", request.starts[0].run, context)

    async def multiplexed(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Play a StreamRun for each start, over one call."""
        playing: dict[int, asyncio.Task[None]] = {}

        async def play(start: stream_service_pb2.MultiplexStart) -> None:
            status = status_pb2.Status()
            try:
                context = _TagContext(start.tag, dict(start.metadata), send)
                async for reply in self.stream("StreamRun", start.run, context):
                    await send(stream_service_pb2.MultiplexBatch(tag=start.tag, events=reply.events))
            except _Aborted as aborted:
                status = aborted.status
            refused = status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
            metadata = self.rate_limits if refused else {}
            await send(stream_service_pb2.MultiplexBatch(tag=start.tag, end=status, metadata=metadata))

        async def send(batch: stream_service_pb2.MultiplexBatch) -> None:
            await context.write(stream_service_pb2.MultiplexRunsResponse(batches=[batch]))

        try:
            async for request in requests:
                await self._break_shared(request, context)
                for start in request.starts:
                    playing[start.tag] = asyncio.create_task(play(start))
                for stop in request.stops:
                    if playing[stop.tag].cancel() and stop.disconnected:
                        self.cancelled.set()
        finally:
            for task in playing.values():
                task.cancel()
            await asyncio.gather(*playing.values(), return_exceptions=True)


class _Aborted(Exception):
    """The one run of a multiplexed call has failed."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


class _TagContext:
    """What a call of its own would have as context, for one run of a multiplexed call."""

    def __init__(
        self,
        tag: int,
        metadata: dict[str, str],
        send: Callable[[stream_service_pb2.MultiplexBatch], Awaitable[None]],
    ) -> None:
        self._tag = tag
        self._metadata = metadata
        self._send = send

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return list(self._metadata.items())

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        if metadata:
            await self._send(stream_service_pb2.MultiplexBatch(tag=self._tag, metadata=dict(metadata)))

    async def abort(self, code: grpc.StatusCode, message: str) -> None:
        raise _Aborted(status_pb2.Status(code=code.value[0], message=message))

    async def abort_with_status(self, status: Any) -> None:
        trailing = dict(status.trailing_metadata)
        raise _Aborted(status_pb2.Status.FromString(trailing["grpc-status-details-bin"]))


def refusal(
    code: grpc.StatusCode, reason: str, message: str, *, field: str = "", retry_after: int | None = None
) -> status_pb2.Status:
    """The status with which the server refuses a call."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain="breezeway")]
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_after)))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """Serve on a port of 127.0.0.1 that is free."""
    fake = FakeServer()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _handler(fake: FakeServer, method: Any) -> Any:
    parse = GetMessageClass(method.input_type).FromString

    async def unary(request: Any, context: Any) -> Any:
        return await fake.unary(method.name, request, context)

    async def stream(request: Any, context: Any) -> AsyncGenerator[Any, None]:
        try:
            async for reply in fake.stream(method.name, request, context):
                yield reply
        except (asyncio.CancelledError, GeneratorExit):
            # The latter where the call was cancelled while it wrote.
            fake.cancelled.set()
            raise

    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(fake.multiplexed, parse, _serialize)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, parse, _serialize)
    return grpc.unary_unary_rpc_method_handler(unary, parse, _serialize)
