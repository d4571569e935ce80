"""OperationsService: how the server is, for those who operate it."""

import asyncio
import os
import time
from collections import Counter
from importlib.metadata import version

from breezeway.telemetry.exposition import CONTENT_TYPE, exposition
from breezeway.v1 import operations_service_pb2, operations_service_pb2_grpc
from prometheus_client import CollectorRegistry

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.metrics import STATES
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import Unavailable
from breezeway_server.events.log import EventLog
from breezeway_server.services.context import Context
from breezeway_server.store.base import Store

_STORE_SECONDS = 3.0


class OperationsService(operations_service_pb2_grpc.OperationsServiceServicer):
    """Looks at everything, and changes nothing."""

    def __init__(
        self, supervisor: Supervisor, log: EventLog, agents: AgentRegistry, store: Store, registry: CollectorRegistry
    ) -> None:
        """`registry` holds all metrics of the server."""
        self._supervisor = supervisor
        self._log = log
        self._agents = agents
        self._store = store
        self._registry = registry
        self._started_ns = time.time_ns()
        self._started = time.monotonic()

    async def GetMetrics(
        self, request: operations_service_pb2.GetMetricsRequest, context: Context
    ) -> operations_service_pb2.GetMetricsResponse:
        """See operations_service.proto."""
        return operations_service_pb2.GetMetricsResponse(content_type=CONTENT_TYPE, text=exposition(self._registry))

    async def GetStatus(
        self, request: operations_service_pb2.GetStatusRequest, context: Context
    ) -> operations_service_pb2.GetStatusResponse:
        """See operations_service.proto."""
        draining = self._supervisor.intake.closed
        active = Counter(fold.state for fold in self._supervisor.under_way)
        agents = len(self._agents.infos)
        now = time.monotonic()
        status = operations_service_pb2.GetStatusResponse(
            state=(
                operations_service_pb2.SERVER_STATE_DRAINING
                if draining
                else operations_service_pb2.SERVER_STATE_SERVING
            ),
            version=version("breezeway"),
            pid=os.getpid(),
            active_runs=[operations_service_pb2.ActiveRuns(state=state, count=active[state]) for state in STATES],
            parts=[
                _part("store", await self._store_fault()),
                _part("log", "The store cannot write; it is tried again." if self._log.failing else ""),
                _part("agents", "" if agents else "There is none; see the configuration."),
                _part("jobs", "The server is about to stop; the next one fires them." if draining else ""),
            ],
            agents=agents,
        )
        status.start_time.FromNanoseconds(self._started_ns)
        status.uptime.FromMilliseconds(round((now - self._started) * 1000))
        if self._log.last_commit is not None:
            status.last_commit_age.FromMilliseconds(round(max(0.0, now - self._log.last_commit) * 1000))
        return status

    async def _store_fault(self) -> str:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await self._store.next_job_time()
        except Unavailable:
            return "It cannot be read."
        except TimeoutError:
            return f"It gave no answer for {_STORE_SECONDS:g} seconds."
        return ""


def _part(name: str, fault: str) -> operations_service_pb2.PartStatus:
    return operations_service_pb2.PartStatus(name=name, ready=not fault, detail=fault)
