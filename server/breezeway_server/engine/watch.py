"""What those who operate the server get to know of one run: its part of the numbers, and its span."""

from breezeway.telemetry.traces import Kind, Span
from breezeway.v1 import run_pb2

from breezeway_server.agents.spans import usage_attributes
from breezeway_server.engine.metrics import AgentMetrics
from breezeway_server.events.fold import RunFold

_SECOND = 1e9


class Watch:
    """Told of one attempt of one run by its recorder and its roster."""

    __slots__ = ("_metrics", "span")

    def __init__(self, metrics: AgentMetrics, span: Span) -> None:
        self._metrics = metrics
        self.span = span

    def began_to_answer(self, fold: RunFold, now_ns: int) -> None:
        """The first item of the run begins."""
        self._metrics.first_token_seconds.observe(max(0.0, (now_ns - fold.create_time_ns) / _SECOND))

    def called_model(self, usage: run_pb2.Usage) -> None:
        """A model call has ended."""
        self._metrics.used(usage)

    def ended(self, fold: RunFold, *, over: bool) -> None:
        """The attempt ends; `over` says whether that is the run's end, and durable."""
        if not over:
            self.span.end("interrupted")
            return
        self._metrics.ended(fold.state, max(0.0, (fold.end_time_ns - fold.create_time_ns) / _SECOND))
        if self.span.recorded:
            self.span.note(usage_attributes(fold.usage))
        self.span.end(fold.error.reason)


def run_span(parent: Span, run_id: str, spec: run_pb2.RunSpec, attempt: int) -> Span:
    """Begin the span of a run's attempt, in the words of OpenTelemetry's conventions for generative AI."""
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "breezeway",
        "gen_ai.agent.name": spec.agent,
        "breezeway.run.id": run_id,
        "breezeway.run.attempt": attempt,
    }
    if spec.conversation_id:
        attributes["gen_ai.conversation.id"] = spec.conversation_id
    return parent.begin(f"invoke_agent {spec.agent}", Kind.INTERNAL, attributes)
