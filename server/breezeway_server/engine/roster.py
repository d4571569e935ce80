"""The roster: the runs in the hands of this process, and what is known by them."""

import asyncio
from functools import partial

import structlog

from breezeway_server.engine.live import LiveRun
from breezeway_server.engine.retained import RetainedRuns
from breezeway_server.engine.runner import Ready
from breezeway_server.engine.turns import Turns
from breezeway_server.errors import Unavailable
from breezeway_server.events.log import EventLog

_logger = structlog.get_logger()


class Roster:
    """Runs from their beginning until they are forgotten: at their end, or a while after where only we have them."""

    def __init__(self, log: EventLog, *, memory_seconds: float, memory_bytes: int, max_queued: int) -> None:
        """`memory_seconds` and `memory_bytes` bound what is held of ended runs of MEMORY durability.

        `max_queued` is how many runs of one conversation may wait for their turn.
        """
        self._log = log
        self._runs: dict[str, LiveRun] = {}
        self._requests: dict[tuple[str, str], LiveRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._retained = RetainedRuns(self._forget, seconds=memory_seconds, size=memory_bytes)
        self.turns = Turns(max_queued)

    def __len__(self) -> int:
        """Return how many runs are under way."""
        return len(self._tasks)

    @property
    def under_way(self) -> list[LiveRun]:
        """The runs that have not ended."""
        return [run for run in self._runs.values() if not run.runner.has_settled]

    def get(self, tenant: str, run_id: str) -> LiveRun | None:
        """Return the run if it is here and the tenant's."""
        run = self._runs.get(run_id)
        return run if run is not None and run.tenant == tenant else None

    def named(self, tenant: str, request_id: str) -> LiveRun | None:
        """Return the run that is here and was created with that request id."""
        return self._requests.get((tenant, request_id))

    def begin(self, run: LiveRun, ready: Ready) -> None:
        """Start a run and hold it until it is forgotten."""
        self._runs[run.run_id] = run
        if run.request_id:
            self._requests[run.tenant, run.request_id] = run
        conversation_id = run.runner.fold.spec.conversation_id
        if conversation_id:
            self.turns.add(run.tenant, conversation_id, run.runner)
        run.account.run_began()
        task = run.runner.begin(ready)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, run))

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until every run has settled, at most `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def discard(self, run_id: str) -> None:
        """Forget a run of MEMORY durability that has ended."""
        self._retained.discard(run_id)

    def sweep(self) -> None:
        """Forget runs of MEMORY durability whose time is over."""
        self._retained.sweep()

    def _ended(self, run: LiveRun, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        run.account.run_ended()
        conversation_id = run.runner.fold.spec.conversation_id
        if conversation_id:
            self.turns.leave(run.tenant, conversation_id, run.runner)
        if task.cancelled() or (error := task.exception()) is not None:
            # A fault of ours: the run has no end in its log. The next start of the server gives it one.
            _logger.error("run_lost", run_id=run.run_id, exc_info=None if task.cancelled() else error)
            run.runner.log.fail(Unavailable("RUN_INTERRUPTED", f"{run.run_id} was interrupted.", 1.0))
        fold = run.runner.fold
        run.runner.watch.ended(fold, over=fold.over and run.runner.log.error is None)
        if run.runner.log.logged:
            self._forget(run)
        else:
            self._retained.add(run)

    def _forget(self, run: LiveRun) -> None:
        self._log.close(run.runner.log)
        del self._runs[run.run_id]
        if run.request_id:
            del self._requests[run.tenant, run.request_id]
