"""What operators get to know of a request: its part of the metrics, its span, and one line in the log."""

import time
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from breezeway.telemetry.traces import Kind, Span, Tracer

from breezeway_shim.backend import BACKEND, REQUEST_ID, ROUTE, SPAN, carrier_of
from breezeway_shim.config import SETTINGS
from breezeway_shim.metrics import ShimMetrics

METRICS = web.AppKey("metrics", ShimMetrics)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Probes come every few seconds; a line is worth it only where one fails.
_QUIET: Final = frozenset({"/alive", "/ready", "/health", "/v1/health", "/metrics"})
_LEFT = 499
_LONGEST_PATH = 256
_log = structlog.get_logger(__name__)


class Observation:
    """One request, from its arrival to the end of its answer."""

    __slots__ = ("_began", "_metrics", "_opened", "_request", "_route", "_run_id", "_status", "span")

    def __init__(self, request: web.Request, metrics: ShimMetrics, tracer: Tracer) -> None:
        self._request = request
        self._metrics = metrics
        self._began = time.perf_counter()
        self._opened: float | None = None
        self._status = _LEFT
        self._run_id: str | None = None
        resource = request.match_info.route.resource
        # Whatever does not exist is one label, and never the path that somebody tries.
        self._route = "unmatched" if resource is None else resource.canonical
        self.span = self._begin_span(tracer)

    @property
    def _method(self) -> str:
        return self._request.method if self._request.method in _METHODS else "other"

    def _begin_span(self, tracer: Tracer) -> Span:
        request = self._request
        place = tracer.arrive(carrier_of(request))
        if not tracer.records:
            return place
        return place.begin(
            f"{self._method} {self._route}",
            Kind.SERVER,
            {
                "http.request.method": self._method,
                "url.path": request.path[:_LONGEST_PATH],
                "url.scheme": request.scheme,
                "breezeway.request.id": request[REQUEST_ID],
            },
        )

    def opens(self, response: web.StreamResponse) -> None:
        """The answer begins while its handler is at work: it is a stream."""
        self._opened = time.perf_counter()
        self._answered(response, self._opened)
        self._metrics.stream_began()

    def _answered(self, response: web.StreamResponse, now: float) -> None:
        self._status = response.status
        self._run_id = response.headers.get("X-Run-Id")
        self._count(now)

    def _count(self, now: float) -> None:
        self._route = self._request.get(ROUTE, self._route)
        self._metrics.answered(self._route, self._method, self._status, now - self._began)

    def ends(self, response: web.StreamResponse | None, *, logged: bool) -> None:
        """The handler is done; without a response where the client left before there was one."""
        now = time.perf_counter()
        if self._opened is not None:
            self._metrics.stream_ended(self._route, now - self._opened)
        elif response is not None:
            self._answered(response, now)
        else:
            self._count(now)
        if self.span.recorded:
            self._end_span()
        if logged and (self._route not in _QUIET or self._status >= 400):
            self._write_line(now - self._began)

    def _end_span(self) -> None:
        self.span.rename(f"{self._method} {self._route}")
        self.span.note({"http.route": self._route, "http.response.status_code": self._status})
        if self._run_id is not None:
            self.span.note({"breezeway.run.id": self._run_id})
        self.span.end(str(self._status) if self._status >= 500 else "")

    def _write_line(self, seconds: float) -> None:
        known = {} if self._run_id is None else {"run_id": self._run_id}
        _log.info(
            "request",
            method=self._method,
            route=self._route,
            status=self._status,
            seconds=round(seconds, 6),
            request_id=self._request[REQUEST_ID],
            **known,
        )


_OBSERVATION = web.RequestKey("observation", Observation)


async def note_stream(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: an answer begins."""
    observation = request.get(_OBSERVATION)
    if observation is not None:
        observation.opens(response)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Observe the request; outside of what makes answers of errors, and inside of what gives it its id."""
    app = request.app
    observation = Observation(request, app[METRICS], app[BACKEND].tracer)
    request[_OBSERVATION] = observation
    request[SPAN] = observation.span
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
    finally:
        # What is sent from here on is an answer that was whole before it began.
        del request[_OBSERVATION]
        observation.ends(response, logged=app[SETTINGS].access_log)
    return response
