"""What the engine counts of runs, by agent."""

from breezeway.v1 import run_pb2
from prometheus_client import CollectorRegistry, Counter, Histogram

_RUN_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_FIRST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

STATES = {
    run_pb2.RUN_STATE_QUEUED: "queued",
    run_pb2.RUN_STATE_IN_PROGRESS: "in_progress",
    run_pb2.RUN_STATE_REQUIRES_ACTION: "requires_action",
}
"""The states of runs that are under way, as labels say them."""

_ENDS = {
    run_pb2.RUN_STATE_COMPLETED: "completed",
    run_pb2.RUN_STATE_INCOMPLETE: "incomplete",
    run_pb2.RUN_STATE_FAILED: "failed",
    run_pb2.RUN_STATE_CANCELLED: "cancelled",
}
_TOKENS = {
    "input": "input_tokens",
    "cached_input": "cached_input_tokens",
    "output": "output_tokens",
    "reasoning_output": "reasoning_output_tokens",
}


class RunMetrics:
    """Touched when a run begins to answer, calls its model and ends; never for a token. Shown once registered."""

    def __init__(self) -> None:
        self.runs = Counter("breezeway_runs", "Runs that have ended, by how.", ["agent", "state"], registry=None)
        self.run_seconds = Histogram(
            "breezeway_run_seconds",
            "From the acceptance of a run to its end, waiting included.",
            ["agent"],
            buckets=_RUN_SECONDS,
            registry=None,
        )
        self.first_token_seconds = Histogram(
            "breezeway_time_to_first_token_seconds",
            "From the acceptance of a run to the first piece of its answer: text, a thought or a tool call.",
            ["agent"],
            buckets=_FIRST_SECONDS,
            registry=None,
        )
        self.model_calls = Counter(
            "breezeway_model_calls", "Model calls that have said what they used.", ["agent"], registry=None
        )
        self.tokens = Counter(
            "breezeway_tokens",
            "Tokens that models have read and written; cached_input is a part of input, reasoning_output of output.",
            ["agent", "kind"],
            registry=None,
        )
        self.rejected = Counter(
            "breezeway_rejected",
            "Runs that were refused instead of accepted, by reason.",
            ["reason"],
            registry=None,
        )
        self._agents: dict[str, AgentMetrics] = {}

    def register(self, registry: CollectorRegistry) -> None:
        """Let the registry show them, after what it has already."""
        for metric in (
            self.runs,
            self.run_seconds,
            self.first_token_seconds,
            self.model_calls,
            self.tokens,
            self.rejected,
        ):
            registry.register(metric)

    def of(self, agent: str) -> "AgentMetrics":
        """Return the counters of an agent, which the registry has or had: any other name must not get here."""
        known = self._agents.get(agent)
        if known is None:
            known = self._agents[agent] = AgentMetrics(self, agent)
        return known


class AgentMetrics:
    """One agent's counters, looked up once."""

    def __init__(self, metrics: RunMetrics, agent: str) -> None:
        self._ends = {state: metrics.runs.labels(agent, label) for state, label in _ENDS.items()}
        self._tokens = [(field, metrics.tokens.labels(agent, kind)) for kind, field in _TOKENS.items()]
        self.run_seconds = metrics.run_seconds.labels(agent)
        self.first_token_seconds = metrics.first_token_seconds.labels(agent)
        self.model_calls = metrics.model_calls.labels(agent)

    def used(self, usage: run_pb2.Usage) -> None:
        """Count what was used."""
        self.model_calls.inc(max(usage.model_calls, 1))
        for field, counter in self._tokens:
            if used := getattr(usage, field):
                counter.inc(used)

    def ended(self, state: run_pb2.RunState.ValueType, seconds: float) -> None:
        """Count a run's end."""
        self._ends[state].inc()
        self.run_seconds.observe(seconds)
