"""What the log counts of its commits."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class LogMetrics:
    """Touched once a commit, never for an event."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Without a registry they are counted, and shown nowhere."""
        self.commits = Counter("breezeway_commits", "Transactions that made events durable.", registry=registry)
        self.commit_seconds = Histogram(
            "breezeway_commit_seconds",
            "How long those took, without the pauses after a failed one.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.commit_events = Histogram(
            "breezeway_commit_events", "How many events each made durable.", buckets=_EVENTS, registry=registry
        )
        self.store_errors = Counter(
            "breezeway_store_errors",
            "Commits that the store failed; each is tried again for a while.",
            registry=registry,
        )
        self.events_lost = Counter(
            "breezeway_events_lost",
            "Events that agents brought forth and that were given up before they were durable, because the store could "
            "not write for too long. No reader has seen them; the next attempt of their runs does that work again. "
            "Events that readers have seen are never given up.",
            registry=registry,
        )
