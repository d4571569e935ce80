"""The launcher: puts together what an attempt of a run is carried out with, and begins it."""

from collections.abc import Callable, Sequence
from functools import partial

from breezeway.telemetry.traces import Span
from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.engine.limits import Limits
from breezeway_server.engine.live import LiveRun
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.quota import Account
from breezeway_server.engine.recorder import Recorder
from breezeway_server.engine.roster import Roster
from breezeway_server.engine.runner import Runner, Work
from breezeway_server.engine.watch import Watch, run_span
from breezeway_server.events.fold import RunFold
from breezeway_server.events.log import EventLog
from breezeway_server.events.log_store import NewRun
from breezeway_server.store.base import Store


class Launcher:
    """Begins attempts of runs, which the roster has from then on."""

    def __init__(
        self,
        store: Store,
        log: EventLog,
        roster: Roster,
        limits: Limits,
        *,
        clock: Callable[[], int],
        metrics: RunMetrics,
    ) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._store = store
        self._log = log
        self._roster = roster
        self._limits = limits
        self._clock = clock
        self._metrics = metrics

    def first(
        self, run_id: str, new: NewRun, work: Work, *, account: Account, place: Span, before: Sequence[Runner]
    ) -> None:
        """Record that a run was accepted, and begin it once the runs `before` it have settled.

        `account` pays; `place` is where in a trace it was asked for.
        """
        watch = self._watch(place, run_id, new.spec, 1)
        logged = new.spec.durability != run_pb2.DURABILITY_MEMORY
        runner, recorder = self._runner(
            new.tenant, RunFold(run_id, new.input), work, 1, account=account, watch=watch, logged=logged
        )
        recorder.queue(new)
        run = LiveRun(new.tenant, runner, account, new.request_id, new.request_hash)
        self._roster.begin(run, partial(self._ready, run, before))

    def again(self, tenant: str, fold: RunFold, work: Work, attempt: int, *, account: Account, place: Span) -> None:
        """Begin another attempt of a run that the store has, once the runs before it have settled; see `first`."""
        watch = self._watch(place, fold.run_id, fold.spec, attempt)
        runner, _ = self._runner(tenant, fold, work, attempt, account=account, watch=watch, logged=True)
        run = LiveRun(tenant, runner, account)
        before = self._roster.turns.waiting(tenant, fold.spec.conversation_id)
        self._roster.begin(run, partial(self._ready, run, before))

    def _watch(self, place: Span, run_id: str, spec: run_pb2.RunSpec, attempt: int) -> Watch:
        return Watch(self._metrics.of(spec.agent), run_span(place, run_id, spec, attempt))

    def _runner(
        self, tenant: str, fold: RunFold, work: Work, attempt: int, *, account: Account, watch: Watch, logged: bool
    ) -> tuple[Runner, Recorder]:
        run_log = self._log.open(fold.run_id, attempt, logged=logged, after=fold.last_sequence)
        recorder = Recorder(
            self._log,
            run_log,
            fold,
            output_limit=self._limits.output_bytes,
            spend=account.count_tokens,
            watch=watch,
            clock=self._clock,
        )

        limit = self._limits.run_seconds
        runner = Runner(tenant, fold, run_log, recorder, work, grants=self._store, time_limit=limit, watch=watch)
        return runner, recorder

    async def _ready(self, run: LiveRun, before: Sequence[Runner]) -> Sequence[item_pb2.Item]:
        for runner in before:
            await runner.settled()
        spec = run.runner.fold.spec
        if spec.previous_run_id or spec.conversation_id:
            return await self._store.history(run.tenant, spec, run.run_id)
        return ()
