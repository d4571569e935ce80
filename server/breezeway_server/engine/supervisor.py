"""The supervisor: owns all runs of this process, and lets them be read, followed, changed and stopped."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager

from breezeway.telemetry.traces import NO_TRACER, NOWHERE, Carrier, Tracer
from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.agents.base import Agent
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.approvals import scope_of
from breezeway_server.engine.draining import drain
from breezeway_server.engine.intake import Intake
from breezeway_server.engine.launcher import Launcher
from breezeway_server.engine.limits import Limits
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.quota import Quotas
from breezeway_server.engine.recovery import Recovery
from breezeway_server.engine.roster import Roster
from breezeway_server.engine.sweeper import Sweeper
from breezeway_server.errors import ConversationLocked, CursorAhead, CursorExpired, FailedPrecondition, NotFound
from breezeway_server.events.fold import RunFold
from breezeway_server.events.framing import decode
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.legal import TERMINAL_STATES
from breezeway_server.events.log import EventLog
from breezeway_server.events.readers import Readers
from breezeway_server.events.run_log import RunLog
from breezeway_server.store.base import Store


class Supervisor:
    """All runs of this process. `start` takes up those that an earlier process left; `drain` ends the work.

    `intake` accepts new ones, and `sweeper` forgets what is old while it runs.
    """

    def __init__(
        self,
        store: Store,
        log: EventLog,
        agents: AgentRegistry,
        limits: Limits,
        *,
        new_id: Uuid7,
        clock: Callable[[], int] = time.time_ns,
        ticks: Callable[[], int] = time.monotonic_ns,
        metrics: RunMetrics | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`clock` gives nanoseconds since 1970, `ticks` nanoseconds that never go back."""
        self._store = store
        self._log = log
        self._roster = Roster(
            log,
            memory_seconds=limits.memory_run_seconds,
            memory_bytes=limits.memory_run_bytes,
            max_queued=limits.queued_runs,
        )
        metrics = metrics or RunMetrics()
        quotas = Quotas(ticks)
        launcher = Launcher(store, log, self._roster, limits, clock=clock, metrics=metrics)
        self.intake = Intake(
            store,
            agents,
            limits,
            self._roster,
            launcher=launcher,
            quotas=quotas,
            new_id=new_id,
            clock=clock,
            metrics=metrics,
        )
        self.sweeper = Sweeper(store, self._roster, limits, clock=clock)
        self._recovery = Recovery(store, agents, launcher, quotas, tracer=tracer, max_attempts=limits.max_attempts)

    async def start(self) -> None:
        """Take up the runs that an earlier process left: go on with them, or end them."""
        await self._recovery.take_up_all()

    async def drain(self, grace: float) -> None:
        """Refuse new runs, give those under way `grace` seconds, then stop them; see `draining.drain`."""
        self.intake.close()
        await drain(self._roster, self._store, grace)

    @property
    def under_way(self) -> Iterator[RunFold]:
        """The runs under way, as far as they are; not to be changed."""
        return (run.runner.fold for run in self._roster.under_way)

    @property
    def readers(self) -> Readers:
        """Those that follow runs."""
        return self._log.readers

    async def get(self, tenant: str, run_id: str) -> run_pb2.Run:
        """Return the run as it is now. Raises `NotFound`."""
        live = self._roster.get(tenant, run_id)
        if live is None:
            run = await self._store.get_run(tenant, run_id)
            if run is None:
                raise _no_run(run_id)
            return run
        run = live.runner.fold.snapshot()
        # What is shown must not be taken back by a crash.
        await live.runner.log.reach(run.last_sequence)
        return run

    async def follow(
        self, tenant: str, run_id: str, *, after: int = 0, milestones: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Yield the run's events above `after` as joined frames; see `EventLog.follow`.

        Raises `NotFound`, and `CursorAhead` where the run has no event `after`.
        """
        live = self._roster.get(tenant, run_id)
        if live is not None:
            last, over = live.runner.log.visible, live.runner.log.over
        else:
            head = await self._store.run_head(tenant, run_id)
            if head is None:
                raise _no_run(run_id)
            last, over = head.last_sequence, head.state in TERMINAL_STATES
        if after > last:
            raise CursorAhead(run_id, after, last)
        if over and after == last:
            return
        async with aclosing(self._log.follow(run_id, after=after, milestones=milestones)) as batches:
            async for frames in batches:
                yield frames

    async def carrier(self, tenant: str, run_id: str) -> Carrier:
        """Return where in a trace the run stands; nowhere for one that is not there, or whose events are not."""
        live = self._roster.get(tenant, run_id)
        if live is not None:
            return live.runner.fold.carrier
        if await self._store.run_head(tenant, run_id) is None:
            return NOWHERE
        try:
            stored = await self._store.read_events(run_id, 0, 1)
        except CursorExpired:
            return NOWHERE
        queued = decode(stored[0].frames)[0].run_queued
        return Carrier(queued.traceparent, queued.tracestate)

    def live_log(self, tenant: str, run_id: str) -> RunLog | None:
        """Return the run's log where this process holds all of it; `follow` reads the others."""
        live = self._roster.get(tenant, run_id)
        return live.runner.log if live is not None and live.runner.log.first == 1 else None

    async def update_metadata(self, tenant: str, run_id: str, metadata: Mapping[str, str]) -> run_pb2.Run:
        """Replace a stored run's metadata, and return the run. Raises `NotFound`."""
        live = self._roster.get(tenant, run_id)
        if live is not None:
            await live.runner.log.reach(1)
        if not await self._store.update_run_metadata(tenant, run_id, metadata):
            raise _no_run(run_id)
        if live is not None:
            live.runner.fold.annotate(metadata)
        return await self.get(tenant, run_id)

    def cancel_soon(self, tenant: str, run_id: str) -> None:
        """Ask a run to end as cancelled, if it is under way."""
        live = self._roster.get(tenant, run_id)
        if live is not None:
            live.runner.cancel()

    async def cancel(self, tenant: str, run_id: str) -> run_pb2.Run:
        """End a run as cancelled, and return it once that has settled; one that is over stays as it is."""
        live = self._roster.get(tenant, run_id)
        if live is not None:
            live.runner.cancel()
            await live.runner.settled()
        return await self.get(tenant, run_id)

    async def delete(self, tenant: str, run_id: str) -> None:
        """Cancel a run where it is under way, and delete it. Raises `NotFound`."""
        live = self._roster.get(tenant, run_id)
        if live is not None:
            live.runner.cancel()
            await live.runner.settled()
            self._roster.discard(run_id)
        deleted = await self._store.delete_run(tenant, run_id)
        if live is None and not deleted:
            raise _no_run(run_id)

    async def resolve_approval(
        self,
        tenant: str,
        run_id: str,
        request_id: str,
        decision: item_pb2.ApprovalDecision.ValueType,
        reason: str,
    ) -> run_pb2.Run:
        """Decide what a run waits for, and return the run. Raises as `RunService.ResolveApproval` says."""
        live = self._roster.get(tenant, run_id)
        if live is None or live.runner.fold.over:
            await self.get(tenant, run_id)
            raise FailedPrecondition("APPROVAL_ALREADY_RESOLVED", f"{run_id} is over; it waits for nothing.")
        runner = live.runner
        request = runner.approvals.find(request_id)
        if decision in {item_pb2.APPROVAL_DECISION_SESSION, item_pb2.APPROVAL_DECISION_ALWAYS}:
            scope = "" if decision == item_pb2.APPROVAL_DECISION_ALWAYS else scope_of(runner.fold)
            await self._store.grant(tenant, runner.fold.spec.agent, request.name, scope)
        await runner.approvals.resolve(request.call_id, decision, reason)
        return await self.get(tenant, run_id)

    async def finished_with(self, agent: Agent) -> None:
        """Wait until no run works with the agent; no new one does, once the registry has it no more."""
        for run in self._roster.under_way:
            if run.runner.works_with(agent):
                await run.runner.settled()

    @asynccontextmanager
    async def idle(self, tenant: str, conversation_id: str) -> AsyncIterator[None]:
        """Let no run of a conversation begin for the length of the block, so that it can be changed.

        Raises `ConversationLocked` where one is under way.
        """
        async with self._roster.turns.lock(tenant, conversation_id):
            busy = self._roster.turns.busy(tenant, conversation_id)
            if busy is not None:
                raise ConversationLocked(conversation_id, busy)
            yield


def _no_run(run_id: str) -> NotFound:
    return NotFound("RUN_NOT_FOUND", f"There is no run {run_id}.")
