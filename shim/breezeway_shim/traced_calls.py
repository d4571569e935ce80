"""Spans of the shim's calls of its server; used only where spans are recorded."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from breezeway.telemetry.rpc import begin_call, end_call
from breezeway.telemetry.traces import Carrier, Kind, Span, Tracer, carrier_in

from breezeway_shim.reconnecting import CallMetadata, EventCall

Metadata = tuple[tuple[str, str], ...]


def begin(tracer: Tracer, method: str, metadata: Metadata) -> tuple[Span, Metadata]:
    """Begin the span of a call with this metadata; return it, and the metadata that tells the server of it."""
    span = begin_call(tracer.arrive(carrier_in(metadata)), method, Kind.CLIENT)
    others = tuple((name, value) for name, value in metadata if name not in Carrier._fields)
    return span, (*others, *span.carrier.pairs)


class TracedEvents:
    """A call that shares its connection with others, whose span ends when it is let go of."""

    def __init__(self, call: EventCall, span: Span) -> None:
        self._call = call
        self._span = span

    def __aiter__(self) -> AsyncIterator[Any]:
        """See `EventCall`: nothing is done for a batch."""
        return self._call.__aiter__()

    async def initial_metadata(self) -> CallMetadata:
        """See `EventCall`."""
        return await self._call.initial_metadata()

    def cancel(self) -> bool:
        """See `EventCall`."""
        cancelled = self._call.cancel()
        end_call(self._span, grpc.StatusCode.CANCELLED if cancelled else grpc.StatusCode.OK)
        return cancelled


class TracedUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Records each call with one answer that belongs to a request."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """See grpc.aio.UnaryUnaryClientInterceptor."""
        if client_call_details.metadata is None:
            return await continuation(client_call_details, request)
        span, details = _begin(self._tracer, client_call_details)
        code = grpc.StatusCode.CANCELLED
        try:
            call = await continuation(details, request)
            code = await call.code()
        finally:
            end_call(span, code)
        return call


class TracedStream(grpc.aio.UnaryStreamClientInterceptor):
    """Records each call with many answers."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """See grpc.aio.UnaryStreamClientInterceptor."""
        span, details = _begin(self._tracer, client_call_details)
        call = await continuation(details, request)
        call.add_done_callback(
            lambda done: end_call(span, grpc.StatusCode.CANCELLED if done.cancelled() else grpc.StatusCode.OK)
        )
        return call


def _begin(tracer: Tracer, details: grpc.aio.ClientCallDetails) -> tuple[Span, grpc.aio.ClientCallDetails]:
    method: Any = details.method
    pairs: Any = tuple(details.metadata or ())
    span, metadata = begin(tracer, method.decode() if isinstance(method, bytes) else method, pairs)
    told = grpc.aio.ClientCallDetails(
        details.method, details.timeout, grpc.aio.Metadata(*metadata), details.credentials, details.wait_for_ready
    )
    return span, told
