"""Recovery: runs that an earlier process left unfinished go on, or end."""

import sys

import structlog
from breezeway.telemetry.traces import Tracer
from breezeway.v1 import run_pb2
from grpc import StatusCode

from breezeway_server.agents.errors import run_error
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.launcher import Launcher
from breezeway_server.engine.quota import Quotas
from breezeway_server.engine.runner import Work
from breezeway_server.events.fold import RunFold, fold
from breezeway_server.events.framing import decode
from breezeway_server.store.base import Store, UnfinishedRun

_logger = structlog.get_logger()


class Recovery:
    """Looks once, when the server starts."""

    def __init__(
        self,
        store: Store,
        agents: AgentRegistry,
        launcher: Launcher,
        quotas: Quotas,
        *,
        tracer: Tracer,
        max_attempts: int,
    ) -> None:
        """`max_attempts` is how many attempts of a run may be lost before it is given up."""
        self._store = store
        self._agents = agents
        self._launcher = launcher
        self._quotas = quotas
        self._tracer = tracer
        self._max_attempts = max_attempts

    async def take_up_all(self) -> None:
        """Begin the next attempt of each unfinished run."""
        for left in await self._store.unfinished():
            if await self._store.claim(left.run_id, left.attempt):
                await self._take_up(left)

    async def _take_up(self, left: UnfinishedRun) -> None:
        run = await self._store.get_run(left.tenant, left.run_id)
        assert run is not None, "nobody else changes the store while the server starts"
        stored = await self._store.read_events(left.run_id, 0, sys.maxsize)
        folded = fold(left.run_id, decode(b"".join(batch.frames for batch in stored)), run.input)
        folded.annotate(run.spec.metadata)
        attempt = left.attempt + 1
        _logger.info("run_taken_up", run_id=left.run_id, attempt=attempt)
        work = self._next_work(folded, left.losses)
        account = self._quotas.account(folded.spec.key_id)
        # In the trace of the attempt that was lost: it goes on with the same work.
        place = self._tracer.arrive(folded.carrier)
        self._launcher.again(left.tenant, folded, work, attempt, account=account, place=place)

    def _next_work(self, folded: RunFold, losses: int) -> Work:
        agent = self._agents.get(folded.spec.agent)
        if agent is None:
            return _lost(f"The server was restarted, and agent {folded.spec.agent} is no longer there.")
        begun = folded.state != run_pb2.RUN_STATE_QUEUED
        if begun and not agent.info.capabilities.resumable:
            return _lost(f"The server was restarted, and agent {agent.info.name} cannot go on where it was.")
        if losses >= self._max_attempts:
            return _lost(f"The run was begun {losses} times, and each time the server was lost.")
        return agent


def _lost(message: str) -> run_pb2.RunError:
    return run_error("SERVER_RESTARTED", message, StatusCode.ABORTED)
