"""What the engine counts of runs, and where in a trace their work stands."""

import pytest
from breezeway.telemetry.exposition import exposition
from breezeway.telemetry.traces import NO_TRACER, NOWHERE, Carrier, current_span
from breezeway.v1 import agent_service_pb2, run_pb2
from breezeway_server.agents.remote.metadata import metadata_of_run
from breezeway_server.agents.steps import ModelCallCompleted, TextDelta
from breezeway_server.errors import NotFound
from breezeway_server.services.metrics import ServerCollector
from prometheus_client import CollectorRegistry

from tests.support.metrics import Scrape
from tests.support.server import ScriptedAgent, Stack

CALLER = Carrier("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
USAGE = run_pb2.Usage(input_tokens=10, cached_input_tokens=4, output_tokens=7, reasoning_output_tokens=2)


@pytest.fixture
def registry(stack: Stack) -> CollectorRegistry:
    """What a server registers."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(stack.supervisor, stack.log, stack.agents, stack.metrics))
    stack.metrics.register(registry)
    return registry


async def test_runs_are_counted_by_how_they_end(
    stack: Stack, agent: ScriptedAgent, registry: CollectorRegistry
) -> None:
    done, broken, stopped, waiting = [await stack.create() for _ in range(4)]
    agent.script(done).say(TextDelta("hi"), ModelCallCompleted("m", USAGE))
    agent.script(done).end()
    agent.script(broken).fail(RuntimeError("broken"))
    for run_id in (done, broken):
        await stack.settled(run_id)
    await stack.seen(stopped, "run_started")
    stack.supervisor.cancel_soon("default", stopped)
    await stack.settled(stopped)
    await stack.seen(waiting, "run_started")
    with pytest.raises(NotFound):
        await stack.create(agent="nobody")

    seen = Scrape(exposition(registry))
    ends = {"completed": 1, "incomplete": 0, "failed": 1, "cancelled": 1}
    for state, count in ends.items():
        assert seen("breezeway_runs_total", agent="scripted", state=state) == count
    assert seen("breezeway_runs_active", agent="scripted", state="in_progress") == 1
    assert seen("breezeway_runs_active", agent="scripted", state="queued") == 0
    assert seen("breezeway_run_seconds_count", agent="scripted") == 3
    assert seen("breezeway_time_to_first_token_seconds_count", agent="scripted") == 1
    assert seen("breezeway_model_calls_total", agent="scripted") == 1
    tokens = {"input": 10, "cached_input": 4, "output": 7, "reasoning_output": 2}
    for kind, count in tokens.items():
        assert seen("breezeway_tokens_total", agent="scripted", kind=kind) == count
    assert seen("breezeway_rejected_total", reason="AGENT_NOT_FOUND") == 1
    assert "nobody" not in seen.labels("breezeway_runs_total", "agent")
    assert seen("breezeway_server_draining") == 0


async def test_a_run_stands_in_its_callers_trace_and_only_its_tenant_learns_of_it(stack: Stack) -> None:
    NO_TRACER.arrive(CALLER).enter()
    run_id = await stack.create()
    queued = await stack.seen(run_id, "run_queued")
    assert Carrier(queued.run_queued.traceparent, queued.run_queued.tracestate) == CALLER
    assert await stack.supervisor.carrier("default", run_id) == CALLER
    assert await stack.supervisor.carrier("other", run_id) == NOWHERE


def test_a_remote_agent_learns_of_the_callers_trace() -> None:
    request = agent_service_pb2.RunRequest(run_id="run_1", attempt=1)
    NO_TRACER.arrive(NOWHERE).enter()
    request.spec.metadata["traceparent"] = CALLER.traceparent
    assert dict(metadata_of_run("a", "default", request))["traceparent"] == CALLER.traceparent
    other = Carrier("00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    NO_TRACER.arrive(other).enter()
    try:
        assert dict(metadata_of_run("a", "default", request))["traceparent"] == other.traceparent
        assert current_span().carrier == other
    finally:
        NO_TRACER.arrive(NOWHERE).enter()
