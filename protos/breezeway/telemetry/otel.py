"""Spans of OpenTelemetry, exported over OTLP; loaded only where traces are asked for (`traces.tracer_of`)."""

from collections.abc import Mapping
from typing import Final

from breezeway.telemetry.traces import NOWHERE, Attributes, Carrier, Kind, Span, set_current_span
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_KINDS: Final = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT}
_CLOSE_SECONDS: Final = 3.0
_W3C: Final = TraceContextTextMapPropagator()


def _context_of(carrier: Carrier) -> otel_context.Context:
    # From an empty context: what the current task belongs to must not come in where the caller said nothing.
    return _W3C.extract(dict(carrier.pairs), otel_context.Context())


class OtelSpan:
    """A span, or a caller's place."""

    def __init__(self, tracer: trace.Tracer, context: otel_context.Context) -> None:
        self._tracer = tracer
        self._context = context
        self._span = trace.get_current_span(context)

    @property
    def carrier(self) -> Carrier:
        """See `Span`."""
        said: dict[str, str] = {}
        _W3C.inject(said, self._context)
        return Carrier(**said) if said else NOWHERE

    @property
    def recorded(self) -> bool:
        """See `Span`."""
        return self._span.is_recording()

    def begin(self, name: str, kind: Kind, attributes: Attributes) -> Span:
        """See `Span`."""
        span = self._tracer.start_span(name, self._context, _KINDS[kind], attributes)
        return OtelSpan(self._tracer, trace.set_span_in_context(span, self._context))

    def rename(self, name: str) -> None:
        """See `Span`."""
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        """See `Span`."""
        self._span.set_attributes(attributes)

    def link(self, carrier: Carrier) -> None:
        """See `Span`."""
        there = trace.get_current_span(_context_of(carrier)).get_span_context()
        if there.is_valid:
            self._span.add_link(there)

    def end(self, error: str = "") -> None:
        """See `Span`."""
        if not self._span.is_recording():
            return
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def enter(self) -> None:
        """See `Span`; what others have instrumented belongs to it, too."""
        set_current_span(self)
        otel_context.attach(self._context)


class OtelTracer:
    """Exports in batches, by a thread of its own."""

    records = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("breezeway")

    @classmethod
    def of(cls, environ: Mapping[str, str], service: str) -> "OtelTracer":
        """Return the tracer that the variables ask for: OTLP by HTTP or gRPC, or `console`.

        Sampling, headers, limits and further attributes are OpenTelemetry's own variables. Raises ImportError.
        """
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES of an operator come before our name.
        named = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
        provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter(environ)))
        return cls(provider)

    def arrive(self, carrier: Carrier) -> Span:
        """See `Tracer`."""
        return OtelSpan(self._tracer, _context_of(carrier))

    def close(self) -> None:
        """See `Tracer`."""
        self._provider.force_flush(int(_CLOSE_SECONDS * 1000))
        self._provider.shutdown()


def _exporter(environ: Mapping[str, str]) -> SpanExporter:
    if environ.get("OTEL_TRACES_EXPORTER", "").strip() == "console":
        return ConsoleSpanExporter()
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - one of two
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - one of two

    return OTLPSpanExporter()
