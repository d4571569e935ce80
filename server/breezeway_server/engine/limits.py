"""The limits that the engine keeps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much there may be of what. Times are in seconds, sizes in bytes."""

    max_runs: int
    """Runs under way at once."""
    run_seconds: float
    """How long one attempt of a run may take."""
    output_bytes: int
    """How much one run may bring forth."""
    memory_run_seconds: float
    """How long a run of MEMORY durability can be read after its end."""
    memory_run_bytes: int
    """How much all of those may hold; the oldest are forgotten first."""
    log_seconds: float
    """How long the events of a logged run are kept after its end. The run itself stays."""
    request_seconds: float
    """How long a request id is remembered."""
    queued_runs: int
    """How many runs of one conversation may wait for their turn."""
    run_tokens: int | None
    """How many tokens one run may use; None for any number."""
    max_attempts: int
    """How many attempts of a run may be lost before it is given up; those that a drain stopped are not lost."""
