"""The transcoder: an HTTP request in, a gRPC call, and its answer as JSON, for any service with http rules."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, Protocol

import grpc
from aiohttp import web
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from breezeway_shim.backend import ROUTE, Metadata, metadata_of
from breezeway_shim.body import read_body
from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.headers import request_id_in
from breezeway_shim.errors import ApiError
from breezeway_shim.rate_limits import note_rate_limits
from breezeway_shim.reconnecting import Batches, CallMetadata
from breezeway_shim.sse import stream
from breezeway_shim.transcoding.deadline import read_timeout
from breezeway_shim.transcoding.faults import Fault
from breezeway_shim.transcoding.fields import pool_of
from breezeway_shim.transcoding.replies import write_reply
from breezeway_shim.transcoding.requests import read_request, take_key
from breezeway_shim.transcoding.routing import NoSuchMethod, NoSuchPath, Router
from breezeway_shim.transcoding.rules import Route, routes_of
from breezeway_shim.transcoding.status import as_status, call_failed, invalid_argument, no_such_method, no_such_path
from breezeway_shim.transcoding.streams import framing_of, resume


class _UnaryCall(Protocol):
    def __await__(self) -> Generator[Any, None, Message]: ...
    async def initial_metadata(self) -> CallMetadata: ...


class _StreamCall(Protocol):
    def __aiter__(self) -> AsyncIterator[Message]: ...
    async def initial_metadata(self) -> CallMetadata: ...
    def cancel(self) -> bool: ...


Begun = Callable[[CallMetadata], None]
"""Is told what the server says before the first message."""

LastingStream = Callable[[Message, Metadata, float | None, Begun], Batches]
"""Yields the `events` of each message, from a request, metadata and a timeout in seconds; raises `ApiError`."""


class _Call(NamedTuple):
    """What a request asks for."""

    route: Route
    message: Message
    metadata: Metadata
    timeout: float | None


class Transcoder:
    """Serves the calls of `services` that have http rules, over a channel to the server that implements them.

    `lasting` are streams, by the full name of their call, that go on over the loss of the server; all others end with
    it. Raises `RuleError` where a rule is wrong or two are the same. The application that it is part of has the shim's
    settings and the `identify` and `shape_errors` middlewares.
    """

    def __init__(
        self,
        services: Iterable[ServiceDescriptor],
        channel: grpc.aio.Channel,
        lasting: Mapping[str, LastingStream] | None = None,
    ) -> None:
        self._lasting = lasting or {}
        self.routes: Sequence[Route] = [route for service in services for route in routes_of(service)]
        self._router = Router(self.routes)
        self._calls: dict[str, Callable[..., Any]] = {
            route.rpc.full_name: _multicallable(route, channel) for route in self.routes
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; an aiohttp handler. Raises `StatusError` before an answer has begun."""
        call = await self._read(request)
        if call.route.rpc.server_streaming:
            return await self._stream(request, call)
        reply = await self._unary(request, call)
        return web.Response(body=write_reply(call.route, reply), content_type="application/json")

    async def _read(self, request: web.Request) -> _Call:
        path = request.rel_url.raw_path
        try:
            route, variables = self._router.find(request.method, path)
            request[ROUTE] = route.template.text
            body = await read_body(request)
            message = read_request(route, variables, request.rel_url.raw_query_string, body)
            take_key(message, request_id_in(request))
            if route.rpc.server_streaming:
                resume(message, request.headers.get("Last-Event-ID"))
            timeout = read_timeout(request.headers.get("Grpc-Timeout"))
            return _Call(route, message, metadata_of(request), timeout)
        except NoSuchPath as error:
            raise no_such_path(path) from error
        except NoSuchMethod as error:
            raise no_such_method(request.method, path, ", ".join(error.allowed)) from error
        except UnicodeDecodeError as error:
            raise invalid_argument(Fault("", "has a path that is not UTF-8")) from error
        except Fault as fault:
            raise invalid_argument(fault) from fault
        except ApiError as error:
            raise as_status(error) from error

    async def _unary(self, request: web.Request, call: _Call) -> Message:
        rpc = call.route.rpc
        # A client that leaves cancels this task, and that cancels the call.
        answer: _UnaryCall = self._calls[rpc.full_name](call.message, metadata=call.metadata, timeout=call.timeout)
        try:
            reply = await answer
        except grpc.aio.AioRpcError as error:
            raise call_failed(error, pool_of(rpc.output_type)) from error
        note_rate_limits(request, await answer.initial_metadata())
        return reply

    async def _messages(self, call: _Call, begun: Begun) -> AsyncGenerator[Message, None]:
        rpc = call.route.rpc
        messages: _StreamCall = self._calls[rpc.full_name](call.message, metadata=call.metadata, timeout=call.timeout)
        try:
            begun(await messages.initial_metadata())
            async for message in messages:
                yield message
        except grpc.aio.AioRpcError as error:
            raise call_failed(error, pool_of(rpc.output_type)) from error
        finally:
            messages.cancel()

    async def _stream(self, request: web.Request, call: _Call) -> web.StreamResponse:
        rpc = call.route.rpc
        framing = framing_of(request.headers.get("Accept", ""), rpc.output_type)

        begun = partial(note_rate_limits, request)
        lasting = self._lasting.get(rpc.full_name)
        messages = self._messages(call, begun) if lasting is None else _lasting_messages(lasting, call, begun)

        return await stream(
            request,
            messages,
            lambda message: [framing.frame(message, write_reply(call.route, message))],
            # JSON lines know no comments.
            keepalive_seconds=request.app[SETTINGS].keepalive_seconds if framing.keeps_alive else math.inf,
            headers={"Content-Type": framing.content_type},
            error_frames=lambda error: [framing.error_frame(error)],
        )


async def _lasting_messages(lasting: LastingStream, call: _Call, begun: Begun) -> AsyncGenerator[Message, None]:
    reply = GetMessageClass(call.route.rpc.output_type)
    try:
        async with aclosing(lasting(call.message, call.metadata, call.timeout, begun)) as batches:
            async for events in batches:
                yield reply(events=events)
    except ApiError as error:
        failed = error.__cause__
        if isinstance(failed, grpc.aio.AioRpcError):
            raise call_failed(failed, pool_of(call.route.rpc.output_type)) from error
        raise as_status(error) from error


def _multicallable(route: Route, channel: grpc.aio.Channel) -> Callable[..., Any]:
    rpc = route.rpc
    open_call: Callable[..., Any] = channel.unary_stream if rpc.server_streaming else channel.unary_unary
    multicallable: Callable[..., Any] = open_call(
        f"/{rpc.containing_service.full_name}/{rpc.name}",
        request_serializer=GetMessageClass(rpc.input_type).SerializeToString,
        response_deserializer=GetMessageClass(rpc.output_type).FromString,
    )
    return multicallable
