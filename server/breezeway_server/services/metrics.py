"""What is not counted as it happens, but looked up when the metrics are asked for."""

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.metrics import STATES, RunMetrics
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.events.log import EventLog


class ServerCollector(Collector):
    """Asks supervisor and log how things stand. Register it before `RunMetrics` are collected."""

    def __init__(self, supervisor: Supervisor, log: EventLog, agents: AgentRegistry, runs: RunMetrics) -> None:
        self._supervisor = supervisor
        self._log = log
        self._agents = agents
        self._runs = runs

    def describe(self) -> list[Metric]:
        """See `Collector`: nothing is looked up to be registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield self._active()
        yield _gauge(
            "breezeway_server_draining", "1 while the server is about to stop.", self._supervisor.intake.closed
        )
        yield CounterMetricFamily(
            "breezeway_events", "Events that have become visible to readers.", value=self._log.shown
        )
        yield _gauge(
            "breezeway_log_pending_bytes",
            "Bytes of events that are not durable yet, and so not visible.",
            self._log.backlog,
        )
        readers = self._log.readers
        yield _gauge("breezeway_readers", "Readers that follow runs.", len(readers))
        yield _gauge(
            "breezeway_reader_lag_events",
            "How many visible events the slowest of them has yet to get; those of runs long over are not looked at.",
            readers.largest_lag,
        )
        built = GaugeMetricFamily("breezeway_build_info", "What is running; always 1.", labels=["version"])
        built.add_metric([version("breezeway")], 1)
        yield built

    def _active(self) -> Metric:
        active = Counter((fold.spec.agent, fold.state) for fold in self._supervisor.under_way)
        family = GaugeMetricFamily("breezeway_runs_active", "Runs under way.", labels=["agent", "state"])
        # All that there are, so that nothing counts as missing; and those that are gone but still have runs.
        names = {info.name for info in self._agents.infos}
        for name in sorted(names):
            self._runs.of(name)
        for name in sorted(names | {agent for agent, _ in active}):
            for state, label in STATES.items():
                family.add_metric([name, label], active[name, state])
        return family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
