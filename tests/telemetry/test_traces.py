"""Traces: what is passed on as it came, and what becomes a span."""

import subprocess
import sys

import pytest
from breezeway.telemetry.otel import OtelTracer
from breezeway.telemetry.traces import NO_TRACER, NOWHERE, Carrier, Kind, carrier_in, current_span, tracer_of
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

CALLER = Carrier("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")


@pytest.mark.parametrize(
    ("environ", "records"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
)
def test_traces_are_recorded_where_they_are_asked_for(environ: dict[str, str], *, records: bool) -> None:
    tracer = tracer_of(environ, "test")
    assert tracer.records is records
    tracer.close()


def test_nothing_of_opentelemetry_is_loaded_unless_it_is_asked_for() -> None:
    program = (
        "import sys; from breezeway.telemetry.traces import tracer_of; tracer_of({}, 'x'); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_a_tracer_a_callers_place_is_passed_on_as_it_came() -> None:
    span = NO_TRACER.arrive(CALLER).begin("work", Kind.SERVER, {})
    assert span.carrier == CALLER
    assert not span.recorded


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00-1-2-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"ff{CALLER.traceparent[2:]}",
        f"{CALLER.traceparent}\n",
        CALLER.traceparent.upper(),
    ],
)
def test_what_is_no_trace_context_is_none(traceparent: str) -> None:
    assert Carrier.of(traceparent, "a=1") == NOWHERE
    assert carrier_in([("traceparent", traceparent)]) == NOWHERE


def test_a_tracestate_that_is_none_leaves_the_rest() -> None:
    assert Carrier.of(CALLER.traceparent, "a\nb") == Carrier(CALLER.traceparent)


class Recorded:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = OtelTracer(provider)


async def test_spans_are_in_their_callers_trace_and_hold_what_is_said_of_them() -> None:
    recorded = Recorded()
    outer = recorded.tracer.arrive(CALLER).begin("outer", Kind.SERVER, {"a": 1})
    outer.enter()
    inner = current_span().begin("inner", Kind.CLIENT, {})
    inner.link(Carrier("00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    inner.end("BROKE")
    inner.end()
    outer.rename("renamed")
    outer.end()
    one, two = recorded.exporter.get_finished_spans()
    assert (one.name, two.name) == ("inner", "renamed")
    assert one.context is not None
    assert two.context is not None
    assert one.parent is not None
    assert two.parent is not None
    assert one.parent.span_id == two.context.span_id
    assert f"{two.parent.span_id:016x}" == "b7ad6b7169203331"
    assert f"{one.context.trace_id:032x}" == CALLER.trace_id
    assert [f"{link.context.trace_id:032x}"[0] for link in one.links] == ["1"]
    assert dict(one.attributes or {}) == {"error.type": "BROKE"}
    assert outer.carrier.traceparent == f"00-{CALLER.trace_id}-{two.context.span_id:016x}-01"
    assert outer.carrier.tracestate == "vendor=1"
