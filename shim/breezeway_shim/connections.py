"""The HTTP port's connections: how many there may be, how long each may take, and what is answered to no HTTP."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong

from breezeway_shim.body_budget import BODY_BUDGET, BodyBudget
from breezeway_shim.config import ShimSettings
from breezeway_shim.errors import ApiError, internal_error
from breezeway_shim.middleware import new_request_id
from breezeway_shim.refusals import (
    early_answer,
    malformed,
    raw_answer,
    refused_expectation,
    too_many_connections,
    too_slow,
)

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# An answer that comes before the whole body was read is lost where the connection closes at once: what the caller still
# sends makes its system forget what it has got. So a little more is taken and thrown away.
_LINGERING_SECONDS = 2.0
_FULL_SECONDS = 1.0
_NO_LINGERING = struct.pack("ii", 1, 0)
_SWEEPS = 4
_LONGEST_SWEEP = 5.0
_log = structlog.get_logger(__name__)


class Runner(web.AppRunner):
    """Serves an application on connections with limits. Clients that leave cancel their handlers."""

    def __init__(self, app: web.Application, settings: ShimSettings, *, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=shutdown_timeout,
            keepalive_timeout=settings.http_idle_seconds,
            lingering_time=_LINGERING_SECONDS,
        )
        self._settings = settings

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return ConnectionServer(
            _with_expectations(plain.request_handler, self._settings.max_body_bytes, self.app[BODY_BUDGET]),
            self._settings,
            request_factory=plain.request_factory,
            **self._kwargs,
        )


class ConnectionServer(web.Server):
    """Makes connections, and looks at all that there are a few times within the shortest of their limits.

    One timer for all of them: neither a request nor a token costs anything here.
    """

    def __init__(self, handler: _Handler, settings: ShimSettings, **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self.settings = settings
        self.open: set[Connection] = set()
        shortest = min(settings.http_header_seconds, settings.http_write_seconds)
        self._interval = min(shortest / _SWEEPS, _LONGEST_SWEEP)
        self._timer = self._loop.call_later(self._interval, self._sweep)

    def __call__(self) -> web.RequestHandler:
        """A connection that was accepted; see asyncio's protocol factories."""
        return Connection(self, loop=self._loop, **self._kwargs)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's own
        """Close all connections, once what is under way on them has ended or `timeout` is over."""
        self._timer.cancel()
        await super().shutdown(timeout)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self.open):
            connection.look(now)
        self._timer = self._loop.call_later(self._interval, self._sweep)


class Connection(web.RequestHandler):
    """One connection, which is closed where the head of a request does not come, or its answers are not taken."""

    __slots__ = ("_full_timer", "_owed_since", "_server", "_stuck_since", "_unsent", "_wire")

    def __init__(self, server: ConnectionServer, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._server = server
        self._wire: asyncio.Transport | None = None
        self._full_timer: asyncio.TimerHandle | None = None
        # Since when a request is owed: from the opening on, and from the first bytes of each later request.
        self._owed_since: float | None = None
        # Since when nothing has been taken of what is to be sent, and how much that is.
        self._stuck_since: float | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol. One connection too many is told so, and does not reach the application."""
        # uvloop's are asyncio's by their methods and not by their class.
        self._wire = wire = cast("asyncio.Transport", transport)
        if len(self._server.open) >= self._server.settings.http_max_connections:
            self._full_timer = self._loop.call_later(_FULL_SECONDS, wire.abort)
            return
        self._server.open.add(self)
        self._owed_since = self._loop.time()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._server.open.discard(self)
        self._wire = None
        if self._full_timer is not None:
            self._full_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._full_timer is not None:
            # Not before: an answer to a request that has not been sent is one that its sender does not look for.
            self._end_with(too_many_connections())
            return
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._owed_since = None
            if self._keepalive_handle is not None:
                # aiohttp's timer for connections that are idle; it is set again when the answer is out.
                self._keepalive_handle.cancel()
                self._keepalive_handle = None
        elif data and self._owed_since is None and self._waiter is not None:
            self._owed_since = self._loop.time()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._stuck_since = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """Close the connection where something took too long; `now` is the loop's time."""
        wire = self._wire
        if wire is None:
            return
        settings = self._server.settings
        unsent = wire.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent or self._stuck_since is None:
            self._stuck_since = now
        elif now - self._stuck_since >= settings.http_write_seconds:
            # The run of a stream that ends here goes on or not as its caller wished, like that of any who leaves.
            _reset(wire)
        self._unsent = unsent
        if self._owed_since is not None and now - self._owed_since >= settings.http_header_seconds:
            self._end_with(too_slow(settings.http_header_seconds))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes what came, which nobody needs to read again
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, in OpenAI's shape. Our own faults are logged, the caller's are not."""
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun and cannot become another.")
        request_id = new_request_id()
        if status < 500:
            return early_answer(malformed(status, too_long=isinstance(exc, LineTooLong)), request_id)
        _log.error("request failed", request_id=request_id, exc_info=exc)
        return early_answer(internal_error(request_id), request_id)

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """Log what aiohttp did not foresee, but not that the rest of a refused body is as broken as its beginning."""
        if not isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kwargs)

    def _end_with(self, error: ApiError) -> None:
        wire = self._wire
        self._owed_since = None
        if wire is not None and not wire.is_closing():
            wire.write(raw_answer(error))
            wire.close()


def _reset(wire: asyncio.Transport) -> None:
    """End the connection, and have the system forget what it still has for the client.

    Without this it would hold megabytes for minutes, and offer them to one who takes nothing.
    """
    wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    wire.abort()


def _with_expectations(handler: _Handler, max_body_bytes: int, budget: BodyBudget) -> _Handler:
    """The handler, with `Expect` looked at first: aiohttp itself asks even for a body that is too large."""

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        if hdrs.EXPECT in request.headers:
            error = refused_expectation(request, max_body_bytes, budget)
            if error is not None:
                return _refuse(error)
        return handler(request)

    return handle


async def _refuse(error: ApiError) -> web.StreamResponse:
    return early_answer(error, new_request_id())
