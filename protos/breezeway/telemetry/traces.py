"""Traces: where in its caller's trace a piece of work stands, and how what it does is told to a tracer.

The parts of Breezeway know this module alone. `otel` beside it makes spans of OpenTelemetry, where that is installed
and asked for; otherwise nothing is recorded, and a caller's trace context travels on as it came.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

# https://www.w3.org/TR/trace-context/: version, trace, parent and flags; and a list of vendors' values.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?")

Value = str | int | float | bool | Sequence[str]
Attributes = Mapping[str, Value]


class Carrier(NamedTuple):
    """A place in a trace as headers and metadata carry it; both texts are empty where there is none."""

    traceparent: str = ""
    tracestate: str = ""

    @classmethod
    def of(cls, traceparent: str, tracestate: str = "") -> "Carrier":
        """Return what a caller says, as far as it has the form that the W3C gives it."""
        if not _TRACEPARENT.fullmatch(traceparent):
            return NOWHERE
        return cls(traceparent, tracestate if _TRACESTATE.fullmatch(tracestate) else "")

    @property
    def trace_id(self) -> str:
        """Return the trace's id, 32 digits; empty where there is none."""
        return self.traceparent[3:35]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return it as headers or metadata."""
        if not self.traceparent:
            return ()
        return tuple((name, value) for name, value in zip(self._fields, self, strict=True) if value)


NOWHERE: Final = Carrier()


def carrier_in(metadata: Iterable[tuple[str, str | bytes]]) -> Carrier:
    """Return the place that metadata or headers with lower-case names carry."""
    said = {name: value for name, value in metadata if name in Carrier._fields}
    if "traceparent" not in said:
        return NOWHERE
    return Carrier.of(str(said["traceparent"]), str(said.get("tracestate", "")))


class Kind(Enum):
    """What a span's work is to others."""

    INTERNAL = auto()
    SERVER = auto()
    CLIENT = auto()


class Span(Protocol):
    """A piece of work, or the place of whoever asked for it. `end` is said once; what comes later is not heard."""

    @property
    def carrier(self) -> Carrier:
        """The place that whoever is called on the way belongs to."""

    @property
    def recorded(self) -> bool:
        """Whether anybody listens: what only a trace needs is not to be looked up otherwise."""

    def begin(self, name: str, kind: Kind, attributes: Attributes) -> "Span":
        """Begin a piece of work in this one."""

    def rename(self, name: str) -> None:
        """Give it the name that could not be known when it began."""

    def note(self, attributes: Attributes) -> None:
        """Say more of it."""

    def link(self, carrier: Carrier) -> None:
        """Point to work of another trace that this belongs to."""

    def end(self, error: str = "") -> None:
        """End it; with what kind of error, where it failed."""

    def enter(self) -> None:
        """Let this be the place of all that the current task, and those that it starts, do from now on."""


class Tracer(Protocol):
    """Where a process tells its spans."""

    @property
    def records(self) -> bool:
        """Whether spans go anywhere."""

    def arrive(self, carrier: Carrier) -> Span:
        """Return the place of a caller, to begin spans in."""

    def close(self) -> None:
        """Hand over what is left; blocks for a few seconds at most."""


class PassedOn:
    """A caller's place, and nobody who listens: what is called on the way gets to know it, and that is all."""

    recorded = False

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier

    def begin(self, name: str, kind: Kind, attributes: Attributes) -> Span:  # noqa: ARG002 - a span's interface
        """See `Span`."""
        return self

    def rename(self, name: str) -> None:
        """See `Span`."""

    def note(self, attributes: Attributes) -> None:
        """See `Span`."""

    def link(self, carrier: Carrier) -> None:
        """See `Span`."""

    def end(self, error: str = "") -> None:
        """See `Span`."""

    def enter(self) -> None:
        """See `Span`."""
        _HERE.set(self)


class PassingOn:
    """The tracer where traces are not asked for."""

    records = False

    def arrive(self, carrier: Carrier) -> Span:
        """See `Tracer`."""
        return PassedOn(carrier) if carrier.traceparent else NO_SPAN

    def close(self) -> None:
        """See `Tracer`."""


NO_SPAN: Final[Span] = PassedOn(NOWHERE)
NO_TRACER: Final[Tracer] = PassingOn()

# Every call and every run has a task of its own, and so a context of its own.
_HERE: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


def current_span() -> Span:
    """Return where in a trace the current task works."""
    return _HERE.get()


def set_current_span(span: Span) -> None:
    """Note where the current task works; for implementations of `Span.enter`."""
    _HERE.set(span)


class NoOpenTelemetry(Exception):
    """Traces are asked for, and what they need is not installed."""


def tracer_of(environ: Mapping[str, str], service: str) -> Tracer:
    """Return the tracer that OpenTelemetry's own variables ask for; `service` is the process's name in traces.

    Raises `NoOpenTelemetry`. Nothing of OpenTelemetry is loaded unless it is asked for.
    """
    if not _wanted(environ):
        return NO_TRACER
    try:
        from breezeway.telemetry.otel import OtelTracer  # noqa: PLC0415 - what is not asked for must cost nothing
    except ImportError as error:
        raise NoOpenTelemetry(
            "Traces are asked for with OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER, and OpenTelemetry is not "
            "installed: pip install 'breezeway[otel]', or unset them."
        ) from error
    return OtelTracer.of(environ, service)


def _wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporters:
        return exporters != "none"
    return bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
