"""A gRPC server that plays kept logs and given replies, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import grpc
from breezeway.v1 import (
    agent_registry_service_pb2,
    event_pb2,
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

_FILES = (agent_registry_service_pb2, run_service_pb2, store_service_pb2, stream_service_pb2)
_DELTAS = {"text_delta", "refusal_delta", "reasoning_delta", "tool_arguments_delta", "tool_progress"}

Step: TypeAlias = Sequence[event_pb2.RunEvent] | asyncio.Event | status_pb2.Status
"""A batch to send, an event to wait for, or the status to fail with."""


class Call(NamedTuple):
    """A call that came in."""

    method: str
    request: Any
    metadata: dict[str, str]


class FakeServer:
    """Streams play `steps`; unary calls answer with `replies`, by method name: a reply, a status, or a function.

    FollowRun plays the events above its sequence. Deltas are left out where the request asks for items.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.calls: list[Call] = []
        self.steps: list[Step] = []
        self.replies: dict[str, Message | status_pb2.Status | Callable[[Any], Message | status_pb2.Status]] = {}
        self.called = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.health = health.aio.HealthServicer()

    def plays(self, log: str | Sequence[event_pb2.RunEvent]) -> None:
        """Play a log, one event a batch."""
        events = read_log(log) if isinstance(log, str) else log
        self.steps = [[event] for event in events]

    async def unary(self, method: str, request: Any, context: Any) -> Any:
        self._note(method, request, context)
        reply = self.replies[method]
        if callable(reply):
            reply = reply(request)
        if isinstance(reply, status_pb2.Status):
            await context.abort_with_status(rpc_status.to_status(reply))
        return reply

    async def stream(self, method: str, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        self._note(method, request, context)
        only_items = request.detail == stream_service_pb2.STREAM_DETAIL_ITEMS
        after = request.after_sequence if method == "FollowRun" else 0
        try:
            for step in self.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, status_pb2.Status):
                    await context.abort_with_status(rpc_status.to_status(step))
                elif events := [
                    event
                    for event in step
                    if event.sequence > after and not (only_items and event.WhichOneof("kind") in _DELTAS)
                ]:
                    # The two responses are the same on the wire.
                    yield stream_service_pb2.StreamRunResponse(events=events)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def _note(self, method: str, request: Any, context: Any) -> None:
        self.calls.append(Call(method, request, dict(context.invocation_metadata())))
        self.called.set()


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
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    fake = FakeServer(f"127.0.0.1:{port}")
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            handlers = {method.name: _handler(fake, method) for method in service.methods}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(fake.health, server)
    await fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(grace=None)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _handler(fake: FakeServer, method: Any) -> Any:
    parse = GetMessageClass(method.input_type).FromString

    async def unary(request: Any, context: Any) -> Any:
        return await fake.unary(method.name, request, context)

    async def stream(request: Any, context: Any) -> AsyncGenerator[Any, None]:
        async for reply in fake.stream(method.name, request, context):
            yield reply

    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, parse, _serialize)
    return grpc.unary_unary_rpc_method_handler(unary, parse, _serialize)
