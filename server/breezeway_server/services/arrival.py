"""What a call belongs to: the request id and the trace of its caller, for log lines and for spans."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import structlog
from breezeway.telemetry.logs import REQUEST_ID
from breezeway.telemetry.rpc import begin_call, end_call
from breezeway.telemetry.traces import Kind, Span, Tracer, carrier_in, current_span
from google.protobuf.message import Message
from grpc_health.v1 import health

from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.services.context import Context, Handler
from breezeway_server.services.keyring import Metadata
from breezeway_server.services.wrapping import wrapped

_HEALTH = f"/{health.SERVICE_NAME}/"


def arrive(tracer: Tracer, metadata: Metadata) -> Span:
    """Let the log lines of the current task carry its caller's request id; return the caller's place in a trace."""
    said = dict(metadata)
    given = said.get("x-request-id", "")
    if isinstance(given, str) and REQUEST_ID.fullmatch(given):
        structlog.contextvars.bind_contextvars(request_id=given)
    else:
        # That of a call which carries many others is none of theirs.
        structlog.contextvars.unbind_contextvars("request_id")
    return tracer.arrive(carrier_in(said.items()))


class ArrivalInterceptor(grpc.aio.ServerInterceptor):
    """Notes for every call what it belongs to, and records its span where spans are recorded."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See grpc.aio.ServerInterceptor."""
        # grpc serves the call in this very task.
        place = arrive(self._tracer, handler_call_details.invocation_metadata)
        place.enter()
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not self._tracer.records or handler.request_streaming or method.startswith(_HEALTH):
            # Those that stream requests are refusals, reflection, and calls that carry many runs, each with its span.
            return handler  # type: ignore[return-value] # None is how grpc is told that there is no such method
        return wrapped(handler, partial(_traced, method, place), handler.request_deserializer)


def _traced(method: str, place: Span, behavior: Any) -> Any:
    async def traced(request: Message, context: Context) -> Any:
        span = begin_call(place, method, Kind.SERVER)
        span.enter()
        code = grpc.StatusCode.CANCELLED
        try:
            reply = await behavior(request, context)
            code = grpc.StatusCode.OK
        except grpc.aio.AbortError:
            code = _code_of(context)
            raise
        finally:
            end_call(span, code)
        return reply

    return traced


def _code_of(context: Context) -> grpc.StatusCode:
    said: Any = context.code()
    # grpc keeps the status as its number.
    return next((code for code in grpc.StatusCode if said in {code, code.value[0]}), grpc.StatusCode.UNKNOWN)


async def link_to_run(supervisor: Supervisor, tenant: str, run_id: str) -> None:
    """Let the current call point to the run that it follows, where that began in another trace."""
    span = current_span()
    if span.recorded:
        origin = await supervisor.carrier(tenant, run_id)
        if origin.trace_id != span.carrier.trace_id:
            span.link(origin)
