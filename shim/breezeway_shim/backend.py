"""The way to the server: one gRPC channel, its stubs, and what of a request travels along as metadata."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import grpc
from aiohttp import web
from breezeway.client.channels import OPTIONS
from breezeway.telemetry.traces import NO_TRACER, Carrier, Span, Tracer
from breezeway.v1 import run_pb2, run_service_pb2, stream_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest
from breezeway.v1.agent_registry_service_pb2_grpc import AgentRegistryServiceStub
from breezeway.v1.operations_service_pb2_grpc import OperationsServiceStub
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.store_service_pb2_grpc import StoreServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub
from grpc_health.v1 import health_pb2
from multidict import istr

from breezeway_shim.errors import FieldToParam, RequestError, rpc_errors, says_why, server_lost, unauthenticated
from breezeway_shim.multiplexing import Multiplexer
from breezeway_shim.reconnecting import Batches, Beginning, CallMetadata, EventCall, Patience, follow_through
from breezeway_shim.shortcut import Shortcut
from breezeway_shim.traced_calls import TracedEvents, TracedStream, TracedUnary
from breezeway_shim.traced_calls import begin as begin_traced

Request = TypeVar("Request")
Reply = TypeVar("Reply")

REQUEST_ID = web.RequestKey("request_id", str)
NOT_LOCAL = web.RequestKey("not_local", str)
"""Why a server without keys must not answer the request; absent where it may."""

ROUTE = web.RequestKey("route", str)
"""The template of a route that aiohttp knows nothing of."""
SPAN = web.RequestKey("span", Span)
"""Where in a trace the request stands."""

# Who is calling, and what traces and gateways in front say about the call. The server decides what it believes.
_CREDENTIAL_HEADERS = (istr("Authorization"), istr("X-API-Key"), istr("X-Session-API-Key"))
_IDENTITY_HEADERS = (
    istr("X-Tenant-Id"),
    istr("X-User-Id"),
    istr("X-Forwarded-User"),
    istr("X-Forwarded-Email"),
    istr("X-OpenWebUI-User-Id"),
    istr("X-OpenWebUI-Chat-Id"),
    istr("baggage"),
)
_CALLER_HEADERS = (*_CREDENTIAL_HEADERS, *_IDENTITY_HEADERS)
_TRACEPARENT = istr("traceparent")
_TRACESTATE = istr("tracestate")

_CHANNEL_OPTIONS = (
    *OPTIONS,
    # Left to itself the window of a stream grows to megabytes, which every client that stalls would then hold here.
    ("grpc.http2.bdp_probe", 0),
)

_STREAM_RUN = "/breezeway.v1.StreamService/StreamRun"

# A larger request would hold up the others on the call that all runs share.
_MOST_SHARED_BYTES = 64 * 1024

# A server that is not there by then is not waited for: it refuses strangers call by call, too.
_KEYLESS_SECONDS = 20.0

# A server that takes longer to say that it is well is not.
_HEALTH_SECONDS = 5.0

Metadata = tuple[tuple[str, str], ...]


class Backend:
    """The server as the shim sees it. Made inside the running loop; `close` when done.

    A server that was lost is waited for, `reconnect_seconds` long: streams of runs go on, and reads are made again.
    """

    def __init__(
        self,
        target: str,
        *,
        reconnect_seconds: float,
        credentials: grpc.ChannelCredentials | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._reconnect_seconds = reconnect_seconds
        self._given_up = asyncio.Event()
        self.tracer = tracer
        # They cost each call something, and so are there only where they have something to do.
        interceptors = [TracedUnary(tracer), TracedStream(tracer)] if tracer.records else None
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS, interceptors=interceptors)
        else:
            self._channel = grpc.aio.secure_channel(
                target, credentials, options=_CHANNEL_OPTIONS, interceptors=interceptors
            )
        self.runs = RunServiceStub(self._channel)
        self.streams = StreamServiceStub(self._channel)
        self._multiplexer = Multiplexer(self.streams.MultiplexRuns)
        self.agents = AgentRegistryServiceStub(self._channel)
        self.store = StoreServiceStub(self._channel)
        self.operations = OperationsServiceStub(self._channel)
        self._check_health = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel itself, for calls that are known by their descriptors alone."""
        return self._channel

    def give_up(self) -> None:
        """Wait no longer for a server that is lost, because nobody will be here when it comes back."""
        self._given_up.set()

    async def close(self) -> None:
        """Close the channel; calls that are under way are cancelled."""
        self.give_up()
        await self._multiplexer.close()
        await self._channel.close()

    async def read(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Reply],
        request: Request,
        metadata: Metadata,
        field_to_param: FieldToParam = str,
    ) -> Reply:
        """The reply to a call that changes nothing, and so is made a second time where the server was lost.

        Raises `ApiError`, the latest when the server has not been back for the time that it is waited for.
        """
        with rpc_errors(field_to_param):
            try:
                return await method(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                if not server_lost(error) or self._given_up.is_set():
                    raise
                lost = error
            try:
                return await method(request, metadata=metadata, wait_for_ready=True, timeout=self._reconnect_seconds)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise lost from error
                raise

    async def create_run(
        self,
        wanted: run_service_pb2.CreateRunRequest,
        metadata: Metadata,
        field_to_param: FieldToParam,
        begun: Callable[[CallMetadata], None],
    ) -> run_pb2.Run:
        """A new run as it was accepted; `begun` is told the metadata that came with it. Raises `ApiError`."""
        call = self.runs.CreateRun(wanted, metadata=metadata)
        with rpc_errors(field_to_param):
            reply = await call
        begun(await call.initial_metadata())
        return reply.run

    def stream_run(
        self,
        request: stream_service_pb2.StreamRunRequest,
        metadata: Metadata,
        field_to_param: FieldToParam,
        begun: Callable[[CallMetadata], None],
        *,
        timeout: float | None = None,
        shortcut: Shortcut | None = None,
    ) -> Batches:
        """Yield the batches of a new run to its end, also over a restart of the server. Raises `ApiError`.

        `begun` is told the server's metadata before the first of them; `timeout` is for all of it, in seconds. Batches
        that the `shortcut` takes are not yielded.
        Closing the generator is leaving, and does to the run what `request.on_disconnect` says. A call that is lost
        before its first event is made again only where `request_id` makes sure that it is the same run; where the
        server refused it by name, its word stands.
        """
        cancels = request.on_disconnect == stream_service_pb2.DISCONNECT_POLICY_CANCEL
        # The call that all runs share has no deadline.
        shared = timeout is None and request.ByteSize() <= _MOST_SHARED_BYTES
        left = _countdown(timeout)
        way = shortcut or Shortcut()

        def begin() -> EventCall:
            nonlocal shared
            if shared:
                # Once: a run that has to begin again is one that wants a call of its own.
                shared = False
                if not self.tracer.records:
                    return self._multiplexer.start(request, metadata, way)
                span, told = begin_traced(self.tracer, _STREAM_RUN, metadata)
                return TracedEvents(self._multiplexer.start(request, told, way), span)
            return self.streams.StreamRun(request, metadata=metadata, timeout=left())

        return follow_through(
            Beginning(begin, lambda error: bool(request.request_id) and not says_why(error), field_to_param),
            partial(self._follow, request.detail, metadata, left),
            Patience(self._reconnect_seconds, self._given_up),
            leave=partial(self._cancel if cancels else _do_nothing, metadata),
            begun=begun,
            shortcut=way,
        )

    def follow_run(
        self,
        request: stream_service_pb2.FollowRunRequest,
        metadata: Metadata,
        field_to_param: FieldToParam = str,
        *,
        timeout: float | None = None,
    ) -> Batches:
        """Yield the batches of a run to its end, also over a restart of the server. Raises `ApiError`.

        Closing the generator changes nothing for the run; `timeout` is for all of it, in seconds.
        """
        left = _countdown(timeout)
        return follow_through(
            Beginning(
                lambda: self.streams.FollowRun(request, metadata=metadata, timeout=left()),
                lambda _: True,
                field_to_param,
            ),
            partial(self._follow, request.detail, metadata, left),
            Patience(self._reconnect_seconds, self._given_up),
            leave=partial(_do_nothing, metadata),
            begun=_hear_nothing,
            # A call of its own has no reader that waits for others.
            shortcut=Shortcut(),
        )

    def _follow(
        self,
        detail: stream_service_pb2.StreamDetail.ValueType,
        metadata: Metadata,
        left: Callable[[], float | None],
        run_id: str,
        after: int,
    ) -> EventCall:
        request = stream_service_pb2.FollowRunRequest(run_id=run_id, after_sequence=after, detail=detail)
        return self.streams.FollowRun(request, metadata=metadata, timeout=left())

    async def _cancel(self, metadata: Metadata, run_id: str) -> None:
        """Cancel a run whose reader left; where the server is not back yet, as soon as it is."""
        request = run_service_pb2.CancelRunRequest(run_id=run_id)
        with suppress(grpc.aio.AioRpcError):
            await self.runs.CancelRun(request, metadata=metadata, wait_for_ready=True, timeout=self._reconnect_seconds)

    async def check_credentials(self, metadata: Metadata) -> None:
        """Raise `ApiError` where the server does not know the caller, by the cheapest call there is."""
        with rpc_errors():
            await self.agents.ListAgents(ListAgentsRequest(page_size=1), metadata=metadata)

    async def keyless(self) -> bool:
        """Whether the server says that it has no keys; False where it says nothing for a while."""
        metadata = (("x-breezeway-not-local", "a shim that listens for others"),)
        try:
            await self.agents.ListAgents(
                ListAgentsRequest(page_size=1), metadata=metadata, wait_for_ready=True, timeout=_KEYLESS_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.PERMISSION_DENIED
        return True

    async def serving(self) -> bool:
        """Whether the server says that it serves."""
        try:
            reply = await self._check_health(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _countdown(seconds: float | None) -> Callable[[], float | None]:
    """Return what tells how many of the seconds are left from now on; None where there is no end to them."""
    if seconds is None:
        return _for_ever
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    return lambda: max(0.0, end - loop.time())


def _for_ever() -> None:
    """How many seconds are left where there is no end to them."""


async def _do_nothing(metadata: Metadata, run_id: str) -> None:
    """What leaving does to a run that goes on without its reader."""


def _hear_nothing(metadata: CallMetadata) -> None:
    """What a call that creates nothing says before its events."""


def metadata_of(request: web.Request) -> Metadata:
    """What the server gets to know of the caller: credentials, identity and tracing headers, the request id.

    Raises `RequestError` for a header that gRPC cannot carry: 401 for a credential, 400 for the others.
    """
    pairs = [("x-request-id", request[REQUEST_ID])]
    if NOT_LOCAL in request:
        pairs.append(("x-breezeway-not-local", request[NOT_LOCAL]))
    headers = request.headers
    for name in _CALLER_HEADERS:
        value = headers.get(name)
        if value is None:
            continue
        if not (value.isascii() and value.isprintable()):
            if name in _CREDENTIAL_HEADERS:
                raise unauthenticated(f"What {name} holds is not a key of this server.")
            raise RequestError(f"The header {name} may hold printable ASCII characters only.")
        pairs.append((name.lower(), value))
    span = request.get(SPAN)
    return (*pairs, *(carrier_of(request) if span is None else span.carrier).pairs)


def carrier_of(request: web.Request) -> Carrier:
    """Return where in a trace its caller says that the request stands."""
    headers = request.headers
    return Carrier.of(headers.get(_TRACEPARENT, ""), headers.get(_TRACESTATE, ""))


BACKEND = web.AppKey("backend", Backend)
