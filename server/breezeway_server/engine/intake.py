"""The intake: a new run is checked against what is there and what its caller may use, and then begins."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from breezeway.telemetry.traces import current_span
from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine import admission
from breezeway_server.engine.launcher import Launcher
from breezeway_server.engine.limits import Limits
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.quota import UNLIMITED, Account, Allowance, Quotas, Standings
from breezeway_server.engine.requests import Requests
from breezeway_server.engine.roster import Roster
from breezeway_server.engine.tokens import estimate
from breezeway_server.errors import BreezewayError, TooManyRuns, Unavailable
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.log_store import NewRun
from breezeway_server.store.base import Store

_RETRY_SECONDS = 1.0


class _Wanted(NamedTuple):
    """What a caller of `Intake.create` asks for."""

    tenant: str
    spec: run_pb2.RunSpec
    items: Sequence[item_pb2.Item]
    request_id: str
    request_hash: bytes
    agents: Collection[str]
    allowance: Allowance


class Intake:
    """Accepts runs until it is closed."""

    def __init__(
        self,
        store: Store,
        agents: AgentRegistry,
        limits: Limits,
        roster: Roster,
        *,
        launcher: Launcher,
        quotas: Quotas,
        new_id: Uuid7,
        clock: Callable[[], int],
        metrics: RunMetrics,
    ) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._store = store
        self._agents = agents
        self._limits = limits
        self._roster = roster
        self._launcher = launcher
        self._quotas = quotas
        self._requests = Requests(store, roster)
        self._new_id = new_id
        self._clock = clock
        self._metrics = metrics
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether new runs are refused because the server is about to stop."""
        return self._closed

    def close(self) -> None:
        """Accept no run from now on."""
        self._closed = True

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
        `spec` becomes the engine's. The run's first event is on its way to the store; reading the run waits for that.
        Raises the errors that `RunService.CreateRun` lists.
        """
        wanted = _Wanted(tenant, spec, items, request_id, request_hash, agents, allowance)
        try:
            if not request_id:
                return await self._accept(wanted)
            async with self._requests.lock(tenant, request_id):
                earlier = await self._requests.earlier(tenant, request_id, request_hash)
                return earlier or await self._accept(wanted)
        except BreezewayError as error:
            self._metrics.rejected.labels(error.reason).inc()
            raise

    async def _accept(self, wanted: _Wanted) -> str:
        tenant, spec = wanted.tenant, wanted.spec
        account = self._quotas.account(wanted.allowance.payer)
        self._check_room(account, wanted.allowance)
        agent = admission.find_agent(self._agents, spec.agent, wanted.agents)
        spec.agent = agent.info.name
        spec.key_id = wanted.allowance.key_id
        items = await admission.resolve_references(self._store, tenant, wanted.items)
        admission.check_capabilities(agent.info.capabilities, spec, items)
        await admission.check_history(self._store, tenant, spec)
        await admission.check_call_outputs(self._store, tenant, spec, items, self._new_run_id)
        if not spec.conversation_id:
            return self._begin(wanted, items, account)
        async with self._roster.turns.lock(tenant, spec.conversation_id):
            await admission.open_conversation(self._store, tenant, spec.conversation_id, self._clock())
            return self._begin(wanted, items, account)

    def _begin(self, wanted: _Wanted, items: Sequence[item_pb2.Item], account: Account) -> str:
        """Begin the run; no coroutine, so that no other request can come in between its checks and its beginning."""
        tenant, spec = wanted.tenant, wanted.spec
        self._check_room(account, wanted.allowance)
        # It may have been replaced meanwhile, and the old one closed.
        agent = admission.find_agent(self._agents, spec.agent, wanted.agents)
        admission.limit_tokens(spec, agent.info, self._limits.run_tokens)
        # The id is taken here, so that the runs of a conversation have ids in the order of their turns.
        run_id, now = self._new_run_id(), self._clock()
        before = (
            self._roster.turns.enter(tenant, spec.conversation_id, spec.busy_policy) if spec.conversation_id else []
        )
        new = NewRun(
            tenant=tenant,
            spec=spec,
            input=admission.take_in(items, run_id, now),
            create_time_ns=now,
            request_id=wanted.request_id,
            request_hash=wanted.request_hash,
        )
        self._launcher.first(run_id, new, agent, account=account, place=current_span(), before=before)
        account.count_request()
        return run_id

    def _check_room(self, account: Account, allowance: Allowance) -> None:
        if self._closed:
            raise Unavailable("SERVER_DRAINING", "The server is about to stop; try again.", _RETRY_SECONDS)
        if len(self._roster) >= self._limits.max_runs:
            raise TooManyRuns(self._limits.max_runs, _RETRY_SECONDS)
        account.check(allowance.rates)

    def _new_run_id(self) -> str:
        return f"run_{self._new_id()}"

    def standings(self, allowance: Allowance) -> Standings:
        """Return how the limits of a payer stand."""
        return self._quotas.account(allowance.payer).standings(allowance.rates)

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
