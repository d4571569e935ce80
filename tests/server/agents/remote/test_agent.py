"""The grpc agent against remote agents that do as they are told, over real sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from breezeway.v1 import agent_pb2, agent_service_pb2, item_pb2, run_pb2
from breezeway_server.agents.base import Agent, AgentError, Approval
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from tests.server.agents.conftest import built
from tests.server.agents.remote import fake
from tests.server.agents.remote.fake import (
    FakeAgent,
    completed,
    ending,
    needed,
    output,
    saying,
    stalling,
    started,
    text,
)
from tests.support.agents import FakeRun, function_tool, said
from tests.support.patience import PATIENCE
from tests.support.system import ReservedPort

_HELLO = saying(fake.steps(text("hel"), text("lo")), fake.steps(text(" you")))
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def remote(*agents: FakeAgent | str, **keys: Any) -> AbstractAsyncContextManager[Agent]:
    endpoints = [agent if isinstance(agent, str) else agent.address for agent in agents]
    return built({"kind": "grpc", "endpoints": endpoints, "retry_backoff": 0, "connect_timeout": PATIENCE, **keys})


@pytest.fixture
def nobody() -> Iterator[str]:
    """The address of an agent that is not running."""
    with ReservedPort.reserved() as port:
        yield f"127.0.0.1:{port.number}"


async def _fails(agent: Agent, run: FakeRun | None = None) -> run_pb2.RunError:
    with pytest.raises(AgentError) as caught:
        await (run or FakeRun.asking("hello")).work(agent)
    return caught.value.error


async def test_steps_come_as_they_are_said_and_the_request_holds_the_whole_run() -> None:
    spec = run_pb2.RunSpec(agent="helper", instructions="Be kind.")
    run = FakeRun(input=[said("hello")], history=[said("before")], spec=spec)
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent) as agent:
        await run.work(agent)
    assert run.text == "hello you"
    (request,) = fake_agent.requests
    assert (request.run_id, request.attempt, request.spec) == (run.run_id, 1, spec)
    assert (list(request.input), list(request.history), list(request.output)) == (run.input, run.history, [])


async def test_a_unix_socket_is_an_endpoint(tmp_path: Path) -> None:
    async with FakeAgent.serving(_HELLO, address=f"unix:{tmp_path}/a.sock") as fake_agent, remote(fake_agent) as agent:
        assert (await FakeRun.asking("hello").work(agent)).text == "hello you"


async def test_metadata_says_whose_run_it_is_and_carries_the_trace() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    spec = run_pb2.RunSpec(user="Zoë", key_id="key_1", metadata={"traceparent": trace, "tracestate": "a=b"})
    broken = run_pb2.RunSpec(metadata={"traceparent": "00-nonsense", "tracestate": "a=b"})
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent) as agent:
        run = await FakeRun(input=[said("hello")], spec=spec, tenant="acme").work(agent)
        await FakeRun.asking("hello", broken).work(agent)
    first, second = fake_agent.metadata
    assert first["breezeway-run-id"] == run.run_id
    assert first["breezeway-attempt"] == "1"
    assert first["breezeway-agent"] == "helper"
    assert first["breezeway-tenant"] == "acme"
    assert first["breezeway-key"] == "key_1"
    assert first["breezeway-user"] == "Zo%C3%AB"
    assert (first["traceparent"], first["tracestate"]) == (trace, "a=b")
    assert second["breezeway-tenant"] == "default"
    assert not {"traceparent", "tracestate", "breezeway-user", "breezeway-key"} & set(second)


async def test_it_starts_without_its_agent_and_says_what_is_wrong(nobody: str) -> None:
    async with remote(nobody, retries=1) as agent:
        assert agent.info.name == "helper"
        error = await _fails(agent)
    assert (error.reason, error.code) == ("AGENT_UNAVAILABLE", _UNAVAILABLE.value[0])


async def test_its_capabilities_are_the_agents_own_from_the_first_run_on() -> None:
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent, images=True) as agent:
        assert agent.info.capabilities.client_tools
        fake_agent.description.capabilities.Clear()
        await FakeRun.asking("hello").work(agent)
        await FakeRun.asking("hello").work(agent)
        assert agent.info.description == "A fake."
        assert agent.info.capabilities == agent_pb2.AgentCapabilities(content_kinds=[agent_pb2.CONTENT_KIND_IMAGE])
        assert fake_agent.described == 1


async def test_the_operators_description_wins() -> None:
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent, description="Ours.") as agent:
        await FakeRun.asking("hello").work(agent)
        assert agent.info.description == "Ours."


@pytest.mark.parametrize(
    ("run", "what"),
    [
        (FakeRun.asking("x", run_pb2.RunSpec(tools=[function_tool("theirs")])), "tools of the caller"),
        (FakeRun.asking("x", run_pb2.RunSpec(sampling=run_pb2.Sampling(n=2))), "n above 1"),
        (
            FakeRun(
                input=[
                    item_pb2.Item(
                        message=item_pb2.Message(
                            content=[item_pb2.ContentPart(image=item_pb2.Image(url="https://x/y.png"))]
                        )
                    )
                ]
            ),
            "images",
        ),
    ],
)
async def test_a_first_run_that_asks_for_too_much_is_refused_by_name(run: FakeRun, what: str) -> None:
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent) as agent:
        fake_agent.description.capabilities.Clear()
        error = await _fails(agent, run)
        assert error.reason == "AGENT_REJECTED"
        assert what in error.message
        assert fake_agent.requests == []


async def test_an_agent_that_cannot_go_on_is_not_asked_to() -> None:
    run = FakeRun(input=[said("hello")], items=[said("hel", item_pb2.ROLE_ASSISTANT)], attempt=2)
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent, resumable=False) as agent:
        assert (await _fails(agent, run)).reason == "SERVER_RESTARTED"
        assert fake_agent.requests == []


async def test_an_agent_of_a_newer_contract_is_not_called() -> None:
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent) as agent:
        fake_agent.description.protocol_version = 2
        assert (await _fails(agent)).reason == "AGENT_FAILED"


async def test_runs_go_round_the_endpoints() -> None:
    async with AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(FakeAgent.serving(_HELLO)) for _ in range(3)]
        agent = await stack.enter_async_context(remote(*agents))
        await _until_all_serve(agent, agents)
        before = Counter({each.address: len(each.requests) for each in agents})
        for _ in range(6):
            await FakeRun.asking("hello").work(agent)
        after = Counter({each.address: len(each.requests) for each in agents})
    assert set((after - before).values()) == {2}


async def _until_all_serve(agent: Agent, agents: list[FakeAgent]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not all(each.requests for each in agents):
            await FakeRun.asking("hello").work(agent)


async def test_a_dead_endpoint_is_left_out(nobody: str) -> None:
    async with FakeAgent.serving(_HELLO) as alive, remote(nobody, alive, retries=0) as agent:
        for _ in range(4):
            assert (await FakeRun.asking("hello").work(agent)).text == "hello you"


async def test_an_endpoint_that_says_it_is_not_healthy_is_left_out() -> None:
    async with FakeAgent.serving(_HELLO) as sick, FakeAgent.serving(_HELLO) as well, remote(sick, well) as agent:
        await sick.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        for _ in range(4):
            await FakeRun.asking("hello").work(agent)
        assert (len(sick.requests), len(well.requests)) == (0, 4)


async def test_an_agent_that_comes_while_it_is_looked_for_is_used(nobody: str) -> None:
    async with remote(nobody, retries=8, retry_backoff=0.05) as agent:
        task = asyncio.create_task(FakeRun.asking("hello").work(agent))
        async with FakeAgent.serving(_HELLO, address=nobody):
            assert (await task).text == "hello you"


async def test_before_the_first_step_another_endpoint_is_tried() -> None:
    refusing = ending(_UNAVAILABLE, "busy")
    async with (
        FakeAgent.serving(refusing, _HELLO) as one,
        FakeAgent.serving(refusing, _HELLO) as other,
        remote(one, other, retries=3) as agent,
    ):
        assert (await FakeRun.asking("hello").work(agent)).text == "hello you"


async def test_retries_are_counted() -> None:
    async with FakeAgent.serving(ending(_UNAVAILABLE, "busy")) as fake_agent, remote(fake_agent, retries=2) as agent:
        assert (await _fails(agent)).reason == "AGENT_UNAVAILABLE"
        assert len(fake_agent.requests) == 3


async def test_after_the_first_step_nothing_is_tried_again() -> None:
    half = ending(_UNAVAILABLE, "gone", fake.steps(text("half")))
    run = FakeRun.asking("hello")
    async with FakeAgent.serving(half) as fake_agent, remote(fake_agent, retries=2) as agent:
        error = await _fails(agent, run)
    assert error.reason == "AGENT_UNAVAILABLE"
    assert "was lost while it worked" in error.message
    assert run.text == "half"
    assert len(fake_agent.requests) == 1


async def test_cancelling_the_run_cancels_the_call_and_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with FakeAgent.serving(stalling(fake.steps(text("half")))) as fake_agent, remote(fake_agent) as agent:
        task = asyncio.create_task(FakeRun.asking("hello").work(agent))
        await fake_agent.begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(fake_agent.cancelled.wait(), PATIENCE)
    assert {task for task in asyncio.all_tasks() if "Channel" in repr(task)} <= before


async def test_leaving_the_steps_cancels_the_call() -> None:
    async with FakeAgent.serving(stalling(fake.steps(text("half")))) as fake_agent, remote(fake_agent) as agent:
        steps = agent.run(FakeRun.asking("hello"))
        await anext(steps)
        await steps.aclose()
        await asyncio.wait_for(fake_agent.cancelled.wait(), PATIENCE)


async def test_a_call_has_a_deadline() -> None:
    async with FakeAgent.serving(stalling()) as fake_agent, remote(fake_agent, deadline=0.2) as agent:
        assert (await _fails(agent)).reason == "AGENT_TIMEOUT"


def _status(message: str, *details: Message) -> status_pb2.Status:
    status = status_pb2.Status(code=3, message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "AGENT_TIMEOUT"),
        (grpc.StatusCode.INVALID_ARGUMENT, "AGENT_REJECTED"),
        (grpc.StatusCode.INTERNAL, "AGENT_FAILED"),
        (grpc.StatusCode.UNKNOWN, "AGENT_FAILED"),
        (grpc.StatusCode.CANCELLED, "AGENT_FAILED"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "AGENT_FAILED"),
    ],
)
async def test_a_status_is_a_reason_and_its_message_stays_inside(code: grpc.StatusCode, reason: str) -> None:
    async with FakeAgent.serving(ending(code, "secret")) as fake_agent, remote(fake_agent) as agent:
        with structlog.testing.capture_logs() as logs:
            error = await _fails(agent)
    assert error.reason == reason
    assert "secret" not in error.message
    assert (logs[-1]["endpoint"], logs[-1]["details"]) == (fake_agent.address, "secret")


async def test_a_refusal_with_details_is_the_callers_to_read() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="temperature", description="too hot")
    details = _status("temperature is too high", error_details_pb2.BadRequest(field_violations=[violation]))
    refusing = ending(grpc.StatusCode.INVALID_ARGUMENT, details.message, details=details)
    async with FakeAgent.serving(refusing) as fake_agent, remote(fake_agent) as agent:
        error = await _fails(agent)
    assert (error.reason, error.param) == ("AGENT_REJECTED", "temperature")
    assert "temperature is too high" in error.message


async def test_a_busy_agent_says_when_to_come_back() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(7)
    details = _status("busy", retry)
    details.code = _UNAVAILABLE.value[0]
    busy = ending(_UNAVAILABLE, "busy", details=details)
    async with FakeAgent.serving(busy) as fake_agent, remote(fake_agent, retries=0) as agent:
        assert (await _fails(agent)).retry_after.ToSeconds() == 7


async def test_a_failure_in_the_agents_own_words_is_the_runs() -> None:
    own = run_pb2.RunError(reason="UPSTREAM_RATE_LIMITED", message="Too fast.", code=8)
    failing = saying(fake.steps(text("half"), agent_service_pb2.AgentStep(run_failed=own)))
    run = FakeRun.asking("hello")
    async with FakeAgent.serving(failing) as fake_agent, remote(fake_agent) as agent:
        assert await _fails(agent, run) == own
    assert run.text == "half"


async def test_a_failure_without_words_gets_some() -> None:
    own = run_pb2.RunError(reason="no reason", code=99)
    failing = saying(fake.steps(agent_service_pb2.AgentStep(run_failed=own)))
    async with FakeAgent.serving(failing) as fake_agent, remote(fake_agent) as agent:
        error = await _fails(agent)
    assert (error.reason, error.code) == ("AGENT_FAILED", 13)
    assert error.message


@pytest.mark.parametrize(
    ("response", "fault"),
    [(fake.steps(output("a", "3")), "call 'a' was never begun"), (b"\xff\xff", "a response is no RunResponse")],
)
async def test_what_cannot_be_ends_the_run_and_the_log_names_endpoint_and_fault(response: bytes, fault: str) -> None:
    answer = stalling(fake.steps(text("half")), response)
    async with FakeAgent.serving(answer) as fake_agent, remote(fake_agent) as agent:
        with structlog.testing.capture_logs() as logs:
            assert (await _fails(agent)).reason == "AGENT_FAILED"
        await asyncio.wait_for(fake_agent.cancelled.wait(), PATIENCE)
    assert (logs[-1]["endpoint"], logs[-1]["fault"]) == (fake_agent.address, fault)


async def test_a_message_above_the_limit_ends_the_run() -> None:
    big = saying(fake.steps(text("x" * 5000)))
    async with FakeAgent.serving(big) as fake_agent, remote(fake_agent, max_message_bytes=4096) as agent:
        assert (await _fails(agent)).reason == "AGENT_FAILED"


@pytest.mark.parametrize("decision", [Approval(granted=True), Approval(granted=False, reason="Not today.")])
async def test_an_approval_is_asked_for_and_handed_to_the_next_call(decision: Approval) -> None:
    asking = saying(fake.steps(started("a", "delete"), completed("a"), needed("a")))
    going_on = saying(fake.steps(output("a", "done"), text("ready")))
    run = FakeRun.asking("delete it")
    run.decide = decision
    async with FakeAgent.serving(asking, going_on) as fake_agent, remote(fake_agent) as agent:
        await run.work(agent)
    assert run.text == "ready"
    first, second = fake_agent.requests
    assert not first.approvals
    assert [item.WhichOneof("kind") for item in second.output] == ["function_call", "approval_request"]
    expected = agent_service_pb2.AgentApproval(call_id="a", granted=decision.granted, reason=decision.reason)
    assert list(second.approvals) == [expected]


async def test_cancelling_while_leave_is_waited_for_leaves_nothing_behind() -> None:
    asking = saying(fake.steps(started("a"), completed("a"), started("b"), completed("b"), needed("a", "b")))
    run = FakeRun.asking("delete it")
    async with FakeAgent.serving(asking) as fake_agent, remote(fake_agent) as agent:
        task = asyncio.create_task(run.work(agent))
        await run.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [task for task in asyncio.all_tasks() if "approval" in repr(task)]


async def test_runs_at_the_same_time_do_not_mix() -> None:
    async def echo(request: agent_service_pb2.RunRequest, context: Any) -> AsyncIterator[bytes]:
        for letter in request.input[0].message.content[0].text.text:
            yield fake.steps(text(letter))

    async with FakeAgent.serving(echo) as one, FakeAgent.serving(echo) as other, remote(one, other) as agent:
        nonces = [f"nonce-{number}" for number in range(20)]
        runs = await asyncio.gather(*(FakeRun.asking(nonce).work(agent) for nonce in nonces))
    assert [run.text for run in runs] == nonces


async def test_closing_twice_is_harmless() -> None:
    async with FakeAgent.serving(_HELLO) as fake_agent, remote(fake_agent) as agent:
        await FakeRun.asking("hello").work(agent)
        await agent.close()
        await agent.close()
