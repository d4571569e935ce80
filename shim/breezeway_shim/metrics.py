"""What the shim counts: requests, streams, and how often its server was lost."""

import os
from pathlib import Path

from breezeway.telemetry.exposition import exposition
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_STREAM_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class ShimMetrics:
    """Touched when a request is answered and when a stream begins and ends; never for a token.

    Labels are templates of routes, known methods and statuses: there are as many as the shim has routes.
    """

    def __init__(self, shared: Path | None = None) -> None:
        """`shared` is where shims that share a port keep their numbers, so that each shows the sums of all.

        It is what PROMETHEUS_MULTIPROC_DIR said when prometheus_client was loaded.
        """
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "breezeway_http_requests",
            "Answers that have begun; 499 where the client left before.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "breezeway_http_request_seconds",
            "From a request's arrival to the first byte of its answer.",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._stream_seconds = Histogram(
            "breezeway_http_stream_seconds",
            "From the first byte of a stream to its end.",
            ["route"],
            buckets=_STREAM_SECONDS,
            registry=registry,
        )
        self._open = 0
        self._streams = Gauge(
            "breezeway_http_streams", "Streams that are open.", multiprocess_mode="livesum", registry=registry
        )
        self.reconnects = Counter(
            "breezeway_backend_reconnects",
            "How often the connection to the server was made again after it was lost.",
            registry=registry,
        )
        self._backend_up = Gauge(
            "breezeway_backend_up",
            "1 where the server has just answered, 0 where it cannot be reached.",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._answers: dict[str, Histogram] = {}
        self._ends: dict[str, Histogram] = {}

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return self._open

    def stream_began(self) -> None:
        """Count a stream."""
        self._open += 1
        self._streams.set(self._open)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer that begins."""
        key = (route, method, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*map(str, key))
        counter.inc()
        histogram = self._answers.get(route)
        if histogram is None:
            histogram = self._answers[route] = self._request_seconds.labels(route)
        histogram.observe(seconds)

    def stream_ended(self, route: str, seconds: float) -> None:
        """Count its end."""
        self._open -= 1
        self._streams.set(self._open)
        histogram = self._ends.get(route)
        if histogram is None:
            histogram = self._ends[route] = self._stream_seconds.labels(route)
        histogram.observe(seconds)

    def text(self, *, backend_up: bool) -> str:
        """Return them in Prometheus' text format."""
        self._backend_up.set(backend_up)
        if self._shared is None:
            return exposition(self._registry)
        _forget_dead(self._shared)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody, path=str(self._shared))  # type: ignore[no-untyped-call]
        return exposition(everybody)


def _forget_dead(shared: Path) -> None:
    """Remove what shims that have ended without a word said of the present; what they have counted stays."""
    for path in shared.glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
