"""What is counted of jobs that fire."""

from prometheus_client import CollectorRegistry, Counter


class JobMetrics:
    """Touched once a firing; a job that is run by hand is none."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Without a registry they are counted, and shown nowhere."""
        fired = Counter(
            "breezeway_jobs_fired",
            "Times of jobs that came, by outcome: a run was started, was refused for good, was put off to be tried "
            "again soon, or the time was missed while no server was there.",
            ["outcome"],
            registry=registry,
        )
        self.started = fired.labels("started")
        self.refused = fired.labels("refused")
        self.put_off = fired.labels("put_off")
        self.missed = fired.labels("missed")
