"""A run in the hands of this process."""

from dataclasses import dataclass

from breezeway_server.engine.quota import Account
from breezeway_server.engine.runner import Runner


@dataclass(slots=True, frozen=True)
class LiveRun:
    """A run that is under way here, or that ended and was kept in memory alone."""

    tenant: str
    runner: Runner
    account: Account
    request_id: str = ""
    request_hash: bytes = b""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.runner.fold.run_id
