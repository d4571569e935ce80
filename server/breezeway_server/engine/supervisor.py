"""The supervisor: owns all runs of this process, from admission to their end, and over its restarts."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext

import structlog
from breezeway.telemetry.traces import NO_TRACER, NOWHERE, Carrier, Tracer, current_span
from breezeway.v1 import item_pb2, run_pb2
from grpc import StatusCode

from breezeway_server.agents.base import Agent
from breezeway_server.agents.errors import run_error
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine import admission
from breezeway_server.engine.limits import Limits
from breezeway_server.engine.live import LiveRun
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.quota import UNLIMITED, Account, Allowance, Quotas, Standings
from breezeway_server.engine.recorder import Recorder
from breezeway_server.engine.requests import Requests
from breezeway_server.engine.roster import Roster
from breezeway_server.engine.runner import Ready, Runner
from breezeway_server.engine.tokens import estimate
from breezeway_server.engine.watch import Watch, run_span
from breezeway_server.errors import (
    BreezewayError,
    ConversationLocked,
    CursorAhead,
    CursorExpired,
    FailedPrecondition,
    NotFound,
    TooManyRuns,
    Unavailable,
)
from breezeway_server.events.fold import RunFold, fold
from breezeway_server.events.framing import decode
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.legal import TERMINAL_STATES
from breezeway_server.events.log import EventLog
from breezeway_server.events.log_store import NewRun
from breezeway_server.events.readers import Readers
from breezeway_server.events.run_log import RunLog
from breezeway_server.store.base import Store, UnfinishedRun

_logger = structlog.get_logger()

_RETRY_SECONDS = 1.0
_SWEEP_SECONDS = 30.0
_SWEEP_ROWS = 100


class Supervisor:
    """All runs of this process. `start` takes up those that an earlier process left; `drain` ends the work."""

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
        self._agents = agents
        self._limits = limits
        self._new_id = new_id
        self._clock = clock
        self._metrics = metrics or RunMetrics()
        self._tracer = tracer
        self._quotas = Quotas(ticks)
        self._roster = Roster(
            log,
            memory_seconds=limits.memory_run_seconds,
            memory_bytes=limits.memory_run_bytes,
            max_queued=limits.queued_runs,
        )
        self._requests = Requests(store, self._roster)
        self._draining = False

    @property
    def active(self) -> int:
        """How many runs are under way."""
        return len(self._roster)

    @property
    def under_way(self) -> Iterator[RunFold]:
        """The runs under way, as far as they are; not to be changed."""
        return (run.runner.fold for run in self._roster.under_way)

    @property
    def readers(self) -> Readers:
        """Those that follow runs."""
        return self._log.readers

    @property
    def draining(self) -> bool:
        """Whether new runs are refused because the server is about to stop."""
        return self._draining

    async def create(
        self,
        tenant: str,
        spec: run_pb2.RunSpec,
        items: Sequence[item_pb2.Item],
        *,
        request_id: str = "",
        request_hash: bytes = b"",
        agents: Collection[str] = (),
        allowance: Allowance = UNLIMITED,
    ) -> str:
        """Accept a run, and return its id; or that of the run which `request_id` named before.

        `agents` are those that there are for the caller; empty for all. `allowance` says who pays for a new run.
        `spec` becomes the engine's. The run's first event is on its way to the store: `follow` and `get` wait for it.
        Raises the errors that `RunService.CreateRun` lists.
        """
        try:
            if not request_id:
                return await self._accept(tenant, spec, items, agents, allowance)
            async with self._requests.lock(tenant, request_id):
                earlier = await self._requests.earlier(tenant, request_id, request_hash)
                return earlier or await self._accept(
                    tenant, spec, items, agents, allowance, request_id=request_id, request_hash=request_hash
                )
        except BreezewayError as error:
            self._metrics.rejected.labels(error.reason).inc()
            raise

    async def _accept(
        self,
        tenant: str,
        spec: run_pb2.RunSpec,
        items: Sequence[item_pb2.Item],
        agents: Collection[str],
        allowance: Allowance,
        *,
        request_id: str = "",
        request_hash: bytes = b"",
    ) -> str:
        account = self._quotas.account(allowance.payer)
        self._check_room(account, allowance)
        agent = admission.find_agent(self._agents, spec.agent, agents)
        spec.agent = agent.info.name
        resolved = await admission.resolve_references(self._store, tenant, items)
        admission.check_capabilities(agent.info.capabilities, spec, resolved)
        await admission.check_history(self._store, tenant, spec)
        await admission.check_call_outputs(self._store, tenant, spec, resolved, self._new_run_id())
        async with self._unchanging(tenant, spec.conversation_id):
            if spec.conversation_id:
                await admission.open_conversation(self._store, tenant, spec.conversation_id, self._clock())
            # Nothing is awaited from here on, so that no other request can come in between.
            self._check_room(account, allowance)
            # It may have been replaced meanwhile, and the old one closed.
            agent = admission.find_agent(self._agents, spec.agent, agents)
            admission.limit_tokens(spec, agent.info, self._limits.run_tokens)
            # The id is taken here, so that the runs of a conversation have ids in the order of their turns.
            run_id, now = self._new_run_id(), self._clock()
            before = []
            if spec.conversation_id:
                before = self._roster.turns.enter(tenant, spec.conversation_id, spec.busy_policy)
            new = NewRun(
                tenant=tenant,
                spec=spec,
                input=admission.take_in(resolved, run_id, now),
                create_time_ns=now,
                request_id=request_id,
                request_hash=request_hash,
            )
            logged = spec.durability != run_pb2.DURABILITY_MEMORY
            watch = Watch(self._metrics.of(spec.agent), run_span(current_span(), run_id, spec, 1))
            runner, recorder = self._runner(
                tenant, account, RunFold(run_id, new.input), agent, 1, watch=watch, logged=logged
            )
            recorder.queue(new)
            run = LiveRun(tenant, runner, account, request_id, request_hash)
            account.count_request()
            self._roster.begin(run, self._ready(run, before))
            return run_id

    def _unchanging(self, tenant: str, conversation_id: str) -> AbstractAsyncContextManager[object]:
        """What to hold from a look at a run's conversation until the run has begun; nothing where it has none."""
        return self._roster.turns.lock(tenant, conversation_id) if conversation_id else nullcontext()

    def _runner(
        self,
        tenant: str,
        account: Account,
        folded: RunFold,
        work: Agent | run_pb2.RunError,
        attempt: int,
        *,
        watch: Watch,
        logged: bool,
    ) -> tuple[Runner, Recorder]:
        run_log = self._log.open(folded.run_id, attempt, logged=logged, after=folded.last_sequence)
        recorder = Recorder(
            self._log,
            run_log,
            folded,
            output_limit=self._limits.output_bytes,
            spend=account.count_tokens,
            watch=watch,
            clock=self._clock,
        )

        async def granted(tool: str) -> bool:
            return await self._store.granted(tenant, folded.spec.agent, tool, _scope(folded))

        limit = self._limits.run_seconds
        return Runner(tenant, folded, run_log, recorder, work, granted=granted, time_limit=limit, watch=watch), recorder

    def _ready(self, run: LiveRun, before: Sequence[Runner]) -> Ready:
        spec = run.runner.fold.spec

        async def ready() -> Sequence[item_pb2.Item]:
            for runner in before:
                await runner.settled.wait()
            if spec.previous_run_id or spec.conversation_id:
                return await self._store.history(run.tenant, spec, run.run_id)
            return ()

        return ready

    def _check_room(self, account: Account, allowance: Allowance) -> None:
        if self._draining:
            raise Unavailable("SERVER_DRAINING", "The server is about to stop; try again.", _RETRY_SECONDS)
        if len(self._roster) >= self._limits.max_runs:
            raise TooManyRuns(self._limits.max_runs, _RETRY_SECONDS)
        account.check(allowance.rates)

    def _new_run_id(self) -> str:
        return f"run_{self._new_id()}"

    def standings(self, allowance: Allowance) -> Standings:
        """Return how the limits of a payer stand."""
        return self._quotas.account(allowance.payer).standings(allowance.rates)

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
            await live.runner.settled.wait()
        return await self.get(tenant, run_id)

    async def delete(self, tenant: str, run_id: str) -> None:
        """Cancel a run where it is under way, and delete it. Raises `NotFound`."""
        live = self._roster.get(tenant, run_id)
        if live is not None:
            live.runner.cancel()
            await live.runner.settled.wait()
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
            scope = "" if decision == item_pb2.APPROVAL_DECISION_ALWAYS else _scope(runner.fold)
            await self._store.grant(tenant, runner.fold.spec.agent, request.name, scope)
        await runner.approvals.resolve(request.call_id, decision, reason)
        return await self.get(tenant, run_id)

    async def count_tokens(
        self, tenant: str, spec: run_pb2.RunSpec, items: Sequence[item_pb2.Item], *, agents: Collection[str] = ()
    ) -> int:
        """Return about how many tokens a run of this spec and input would make its model read."""
        admission.find_agent(self._agents, spec.agent, agents)
        await admission.check_history(self._store, tenant, spec)
        resolved = await admission.resolve_references(self._store, tenant, items)
        history = await self._store.history(tenant, spec, self._new_run_id())
        tools = (text for tool in spec.tools for text in (tool.function.description, tool.function.parameters))
        return estimate((spec.instructions, *tools), (*history, *resolved))

    async def finished_with(self, agent: Agent) -> None:
        """Wait until no run works with the agent; no new one does, once the registry has it no more."""
        for run in self._roster.under_way:
            if run.runner.works_with(agent):
                await run.runner.settled.wait()

    @asynccontextmanager
    async def idle(self, tenant: str, conversation_id: str) -> AsyncIterator[None]:
        """Let no run of a conversation begin for the length of the block, so that it can be changed.

        Raises `ConversationLocked` where one is under way.
        """
        async with self._unchanging(tenant, conversation_id):
            busy = self._roster.turns.busy(tenant, conversation_id)
            if busy is not None:
                raise ConversationLocked(conversation_id, busy)
            yield

    async def start(self) -> None:
        """Take up the runs that an earlier process left: go on with them, or end them."""
        for left in await self._store.unfinished():
            if await self._store.claim(left.run_id, left.attempt):
                await self._take_up(left)

    async def _take_up(self, left: UnfinishedRun) -> None:
        run = await self._store.get_run(left.tenant, left.run_id)
        assert run is not None, "nobody else changes the store while the server starts"
        stored = await self._store.read_events(left.run_id, 0, sys.maxsize)
        folded = fold(left.run_id, decode(b"".join(batch.frames for batch in stored)), run.input)
        folded.annotate(run.spec.metadata)
        work = self._next_work(folded, left.losses)
        account = self._quotas.account(folded.spec.key_id)
        # In the trace of the attempt that was lost: it goes on with the same work.
        span = run_span(self._tracer.arrive(folded.carrier), left.run_id, folded.spec, left.attempt + 1)
        watch = Watch(self._metrics.of(folded.spec.agent), span)
        runner, _ = self._runner(left.tenant, account, folded, work, left.attempt + 1, watch=watch, logged=True)
        live = LiveRun(left.tenant, runner, account)
        before = self._roster.turns.waiting(left.tenant, folded.spec.conversation_id)
        _logger.info("run_taken_up", run_id=left.run_id, attempt=left.attempt + 1)
        self._roster.begin(live, self._ready(live, before))

    def _next_work(self, folded: RunFold, losses: int) -> Agent | run_pb2.RunError:
        agent = self._agents.get(folded.spec.agent)
        if agent is None:
            message = f"The server was restarted, and agent {folded.spec.agent} is no longer there."
            return run_error("SERVER_RESTARTED", message, StatusCode.ABORTED)
        begun = folded.state != run_pb2.RUN_STATE_QUEUED
        if begun and not agent.info.capabilities.resumable:
            message = f"The server was restarted, and agent {agent.info.name} cannot go on where it was."
            return run_error("SERVER_RESTARTED", message, StatusCode.ABORTED)
        if losses >= self._limits.max_attempts:
            message = f"The run was begun {losses} times, and each time the server was lost."
            return run_error("SERVER_RESTARTED", message, StatusCode.ABORTED)
        return agent

    async def sweep(self) -> None:
        """Forget, from time to time and until cancelled, what is kept for a while only."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._roster.sweep()
            try:
                await self.expire()
            except Unavailable:
                _logger.warning("sweep_put_off", retry_in=_SWEEP_SECONDS)

    async def expire(self) -> None:
        """Forget events and request ids that are past their time, a few at once so that writers do not wait long."""
        now = self._clock()
        expired = _SWEEP_ROWS
        while expired >= _SWEEP_ROWS:
            expired = await self._store.expire(
                ended_before_ns=now - int(self._limits.log_seconds * 1e9),
                requested_before_ns=now - int(self._limits.request_seconds * 1e9),
                limit=_SWEEP_ROWS,
            )

    async def drain(self, grace: float) -> None:
        """Refuse new runs, give those under way `grace` seconds, then stop them.

        Logged runs stop where they are, and the next start goes on with them; the others fail.
        """
        self._draining = True
        held = [run for run in self._roster.under_way if run.runner.log.logged]
        for run in self._roster.under_way:
            if run.runner.log.logged and run.runner.fold.state == run_pb2.RUN_STATE_REQUIRES_ACTION:
                # It may wait for days, and its server is not needed for that.
                run.runner.interrupt()
        await self._roster.wait(grace)
        stopped = run_error("SERVER_STOPPED", "The server was stopped before the run was over.", StatusCode.UNAVAILABLE)
        for run in self._roster.under_way:
            if run.runner.log.logged:
                run.runner.interrupt()
            else:
                run.runner.fail(stopped)
        await self._roster.wait()
        try:
            # The next start goes on with them, and must not take this for a loss.
            await self._store.release({run.run_id: run.runner.log.attempt for run in held})
        except Unavailable:
            _logger.warning("release_failed", runs=len(held))


def _scope(folded: RunFold) -> str:
    return folded.spec.conversation_id or folded.run_id


def _no_run(run_id: str) -> NotFound:
    return NotFound("RUN_NOT_FOUND", f"There is no run {run_id}.")
