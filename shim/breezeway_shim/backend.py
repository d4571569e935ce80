"""The way to the server: one gRPC channel, its stubs, and what of a request travels along as metadata."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

import grpc
from aiohttp import web
from breezeway.v1 import event_pb2, stream_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest
from breezeway.v1.agent_registry_service_pb2_grpc import AgentRegistryServiceStub
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.store_service_pb2_grpc import StoreServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub
from grpc_health.v1 import health_pb2

from breezeway_shim.errors import FieldToParam, RequestError, cut_short, rpc_errors, unauthenticated

REQUEST_ID = web.RequestKey("request_id", str)

# Who is calling, and what traces and gateways in front say about the call. The server decides what it believes.
CREDENTIAL_HEADERS = ("Authorization", "X-API-Key", "X-Session-API-Key")
IDENTITY_HEADERS = (
    "X-Tenant-Id",
    "X-User-Id",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-OpenWebUI-User-Id",
    "X-OpenWebUI-Chat-Id",
    "traceparent",
    "tracestate",
    "baggage",
)

_CHANNEL_OPTIONS = (
    # Bodies are bounded where they come in; a limit here would only fail later and say less.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that was restarted is found again at once, not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)

# A server that takes longer to say that it is well is not.
_HEALTH_SECONDS = 5.0

_TERMINAL = frozenset({"run_completed", "run_incomplete", "run_failed", "run_cancelled"})

Metadata = tuple[tuple[str, str], ...]


class _Batch(Protocol):
    @property
    def events(self) -> Sequence[event_pb2.RunEvent]: ...


class _Call(Protocol):
    def __aiter__(self) -> AsyncIterator[_Batch]: ...
    def cancel(self) -> bool: ...


class Backend:
    """The server as the shim sees it. Made inside the running loop; `close` when done."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self.runs = RunServiceStub(self._channel)
        self.streams = StreamServiceStub(self._channel)
        self.agents = AgentRegistryServiceStub(self._channel)
        self.store = StoreServiceStub(self._channel)
        self._check_health = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    async def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        await self._channel.close()

    def stream_run(
        self, request: stream_service_pb2.StreamRunRequest, metadata: Metadata, field_to_param: FieldToParam = str
    ) -> AsyncGenerator[Sequence[event_pb2.RunEvent], None]:
        """Yield the batches of StreamRun; raises `ApiError`. Closing the generator cancels the call."""
        return _batches(self.streams.StreamRun(request, metadata=metadata), field_to_param)

    def follow_run(
        self, request: stream_service_pb2.FollowRunRequest, metadata: Metadata, field_to_param: FieldToParam = str
    ) -> AsyncGenerator[Sequence[event_pb2.RunEvent], None]:
        """Yield the batches of FollowRun; raises `ApiError`. Closing the generator cancels the call."""
        return _batches(self.streams.FollowRun(request, metadata=metadata), field_to_param)

    async def check_credentials(self, metadata: Metadata) -> None:
        """Raise `ApiError` where the server does not know the caller, by the cheapest call there is."""
        with rpc_errors():
            await self.agents.ListAgents(ListAgentsRequest(page_size=1), metadata=metadata)

    async def serving(self) -> bool:
        """Whether the server says that it serves."""
        try:
            reply = await self._check_health(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def _batches(call: _Call, field_to_param: FieldToParam) -> AsyncGenerator[Sequence[event_pb2.RunEvent], None]:
    events: Sequence[event_pb2.RunEvent] = ()
    try:
        with rpc_errors(field_to_param):
            async for batch in call:
                events = batch.events
                yield events
    finally:
        call.cancel()
    # Half an answer must not pass for a whole one. A follower that had everything gets nothing, and that is whole.
    if events and events[-1].WhichOneof("kind") not in _TERMINAL:
        raise cut_short()


def metadata_of(request: web.Request) -> Metadata:
    """What the server gets to know of the caller: credentials, identity and tracing headers, the request id.

    Raises `RequestError` for a header that gRPC cannot carry: 401 for a credential, 400 for the others.
    """
    pairs = [("x-request-id", request[REQUEST_ID])]
    for name in (*CREDENTIAL_HEADERS, *IDENTITY_HEADERS):
        value = request.headers.get(name)
        if value is None:
            continue
        if not (value.isascii() and value.isprintable()):
            if name in CREDENTIAL_HEADERS:
                raise unauthenticated(f"What {name} holds is not a key of this server.")
            raise RequestError(f"The header {name} may hold printable ASCII characters only.")
        pairs.append((name.lower(), value))
    return tuple(pairs)


BACKEND = web.AppKey("backend", Backend)
