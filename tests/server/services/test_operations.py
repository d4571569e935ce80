"""OperationsService: how the server is, to operators alone."""

import os
from importlib.metadata import version

import pytest
from breezeway.v1 import operations_service_pb2 as operations
from breezeway.v1 import run_pb2
from breezeway.v1.operations_service_pb2_grpc import OperationsServiceStub
from breezeway_server.services.access import scopes_for
from breezeway_server.services.keyring import KeyRing

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.server import Stack, serving

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


async def test_the_status_says_what_runs_and_that_all_parts_are_ready(client: Client, stack: Stack) -> None:
    run_id = await stack.create()
    await stack.seen(run_id, "run_started")
    status = await OperationsServiceStub(client.channel).GetStatus(operations.GetStatusRequest())
    assert status.state == operations.SERVER_STATE_SERVING
    assert (status.version, status.pid) == (version("breezeway"), os.getpid())
    assert {run_pb2.RunState.Name(runs.state): runs.count for runs in status.active_runs} == {
        "RUN_STATE_QUEUED": 0,
        "RUN_STATE_IN_PROGRESS": 1,
        "RUN_STATE_REQUIRES_ACTION": 0,
    }
    assert [(part.name, part.ready, part.detail) for part in status.parts] == [
        (name, True, "") for name in ("store", "log", "agents", "jobs")
    ]
    assert status.agents == len(stack.agents.infos)
    assert status.last_commit_age.ToMilliseconds() < 60_000


async def test_a_draining_server_says_so(client: Client, stack: Stack) -> None:
    await stack.supervisor.drain(0)
    status = await OperationsServiceStub(client.channel).GetStatus(operations.GetStatusRequest())
    assert status.state == operations.SERVER_STATE_DRAINING
    assert [part.name for part in status.parts if not part.ready] == ["jobs"]


@pytest.mark.parametrize("method", ["GetStatus", "GetMetrics"])
async def test_only_operators_are_answered(stack: Stack, method: str) -> None:
    async with serving(stack, KeyRing([], [KEY])) as channel:
        call = getattr(OperationsServiceStub(channel), method)
        request = getattr(operations, f"{method}Request")()
        assert (await refused(call(request))).reason == "KEY_MISSING"
        await call(request, metadata=(("authorization", f"Bearer {KEY}"),))
    assert scopes_for(f"/breezeway.v1.OperationsService/{method}") == scopes_for("/breezeway.v1.KeyService/ListKeys")


async def test_callers_from_elsewhere_are_refused_without_keys(client: Client) -> None:
    call = OperationsServiceStub(client.channel).GetMetrics(
        operations.GetMetricsRequest(), metadata=(("x-breezeway-not-local", "from elsewhere"),)
    )
    assert (await refused(call)).reason == "CALLER_NOT_LOCAL"
