from collections.abc import Mapping
from typing import Any

import aiohttp
import grpc
import pytest
from breezeway.v1 import agent_pb2, event_pb2, item_pb2, run_pb2, run_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse
from breezeway_shim.dialects.runs import following
from breezeway_shim.dialects.runs.projection import RunsProjection
from breezeway_shim.fold import RunFold

from tests.support.dialects import frames
from tests.support.fake_server import FakeServer, refusal
from tests.support.logs import RUN_ID, read_log
from tests.support.patience import PATIENCE

PATH = "/v1/runs"
ONE = f"{PATH}/{RUN_ID}"
Http = aiohttp.ClientSession


def folded(log: list[event_pb2.RunEvent]) -> run_pb2.Run:
    fold = RunFold()
    for event in log:
        fold.add(event)
    return fold.run


def ready(server: FakeServer, name: str) -> list[event_pb2.RunEvent]:
    """The server plays a log and knows its run."""
    log = read_log(name)
    server.plays(log)
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=folded(log))
    return log


def transcript(log: list[event_pb2.RunEvent], *, after: int = 0) -> bytes:
    projection = RunsProjection()
    frames(projection, log[:after])
    return b"".join(frames(projection, log[after:]))


async def error_of(response: aiohttp.ClientResponse) -> tuple[int, str | None, str | None]:
    error = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status, error["code"], error["param"]


async def test_a_run_is_started_and_named(http: Http, server: FakeServer) -> None:
    server.replies["CreateRun"] = run_service_pb2.CreateRunResponse(run=run_pb2.Run(id=RUN_ID))
    headers = {"Idempotency-Key": "once", "X-Hermes-Session-Id": "mine", "Authorization": "Bearer key"}
    async with http.post(PATH, json={"model": "helper", "input": "hi"}, headers=headers) as response:
        assert response.status == 202
        assert await response.json() == {"run_id": RUN_ID, "status": "started"}
        assert response.headers["X-Run-Id"] == RUN_ID
        assert response.headers["X-Hermes-Session-Id"] == "mine"
    call = server.calls[-1]
    assert (call.request.request_id, call.request.spec.agent) == ("once", "helper")
    assert call.request.spec.conversation_id == "mine"
    assert call.metadata["authorization"] == "Bearer key"


async def test_without_a_model_the_only_agent_runs(http: Http, server: FakeServer) -> None:
    server.replies["ListAgents"] = ListAgentsResponse(agents=[agent_pb2.Agent(name="only")])
    server.replies["CreateRun"] = run_service_pb2.CreateRunResponse(run=run_pb2.Run(id=RUN_ID))
    async with http.post(PATH, json={"input": "hi"}) as response:
        assert response.status == 202
    assert server.calls[-1].request.spec.agent == "only"


async def test_a_refusal_names_the_parameter_in_the_caller_s_words(http: Http, server: FakeServer) -> None:
    code = grpc.StatusCode.INVALID_ARGUMENT
    server.replies["CreateRun"] = refusal(code, "INVALID_REQUEST", "No.", field="spec.previous_run_id")
    async with http.post(PATH, json={"model": "helper", "input": "hi"}) as response:
        assert await error_of(response) == (400, None, "previous_response_id")


async def test_a_stream_is_the_projection_of_the_log(http: Http, server: FakeServer) -> None:
    log = ready(server, "server_tools")
    async with http.get(f"{ONE}/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["X-Run-Id"] == log[0].run_id
        assert await response.read() == transcript(log)


@pytest.mark.parametrize("how", ["Last-Event-ID", "starting_after"])
async def test_resume_sends_exactly_the_rest_from_every_event(http: Http, server: FakeServer, how: str) -> None:
    log = ready(server, "approval")
    for after in range(len(log) + 1):
        given: dict[str, Mapping[str, str]] = {"headers" if how[0] == "L" else "params": {how: str(after)}}
        async with http.get(f"{ONE}/events", **given) as response:  # type: ignore[arg-type] # by name
            assert await response.read() == transcript(log, after=after)


async def test_an_event_that_never_was_is_an_error(http: Http, server: FakeServer) -> None:
    log = ready(server, "text")
    async with http.get(f"{ONE}/events", params={"starting_after": len(log) + 1}) as response:
        assert await error_of(response) == (400, "cursor_ahead", "starting_after")


async def test_events_that_are_no_longer_kept_are_an_error(http: Http, server: FakeServer) -> None:
    ready(server, "text")
    server.steps = [refusal(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED", "The events are gone.")]
    async with http.get(f"{ONE}/events") as response:
        assert (await error_of(response))[:2] == (410, "cursor_expired")


async def test_a_reader_may_come_before_the_run(
    http: Http, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PATIENCE_SECONDS", PATIENCE)
    log = read_log("text")
    server.plays(log)
    answers = [
        refusal(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", "There is no such run."),
        run_service_pb2.GetRunResponse(run=folded(log)),
    ]
    server.replies["GetRun"] = lambda _: answers.pop(0)
    async with http.get(f"{ONE}/events") as response:
        assert await response.read() == transcript(log)
    assert answers == []


async def test_what_is_no_id_is_not_waited_for(http: Http, server: FakeServer) -> None:
    server.replies["GetRun"] = refusal(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", "There is no such run.")
    async with http.get(f"{PATH}/mine/events") as response:
        assert (await error_of(response))[0] == 404
    assert len(server.calls) == 1


async def test_the_status_is_told_by_any_spelling(http: Http, server: FakeServer) -> None:
    ready(server, "failed_in_the_middle")
    async with http.get(f"{PATH}/{RUN_ID.replace('run_', 'chatcmpl-')}") as response:
        told: dict[str, Any] = await response.json()
    assert server.calls[-1].request.run_id.startswith("chatcmpl-")
    assert (told["status"], told["error_reason"], told["output"]) == ("failed", "UPSTREAM_ERROR", "Half of it")
    assert told["started_at"] < told["ended_at"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (run_pb2.RUN_STATE_QUEUED, "queued"),
        (run_pb2.RUN_STATE_IN_PROGRESS, "running"),
        (run_pb2.RUN_STATE_REQUIRES_ACTION, "waiting_for_approval"),
        (run_pb2.RUN_STATE_COMPLETED, "completed"),
        (run_pb2.RUN_STATE_INCOMPLETE, "completed"),
        (run_pb2.RUN_STATE_FAILED, "failed"),
        (run_pb2.RUN_STATE_CANCELLED, "cancelled"),
    ],
)
async def test_stop_answers_with_where_the_run_stands(
    http: Http, server: FakeServer, state: run_pb2.RunState.ValueType, status: str
) -> None:
    server.replies["CancelRun"] = run_service_pb2.CancelRunResponse(run=run_pb2.Run(id=RUN_ID, state=state))
    async with http.post(f"{ONE}/stop") as response:
        assert (response.status, await response.json()) == (200, {"run_id": RUN_ID, "status": status})


@pytest.mark.parametrize(
    ("choice", "decision"),
    [
        ("once", item_pb2.APPROVAL_DECISION_ONCE),
        ("session", item_pb2.APPROVAL_DECISION_SESSION),
        ("always", item_pb2.APPROVAL_DECISION_ALWAYS),
        ("deny", item_pb2.APPROVAL_DECISION_DENY),
    ],
)
async def test_an_approval_is_decided(
    http: Http, server: FakeServer, choice: str, decision: item_pb2.ApprovalDecision.ValueType
) -> None:
    run = run_pb2.Run(id=RUN_ID, state=run_pb2.RUN_STATE_IN_PROGRESS)
    server.replies["ResolveApproval"] = run_service_pb2.ResolveApprovalResponse(run=run)
    body = {"choice": choice, "approval_id": "apr_1", "reason": "because"}
    async with http.post(f"{ONE}/approval", json=body) as response:
        assert await response.json() == {"run_id": RUN_ID, "choice": choice, "status": "running"}
    asked = server.calls[-1].request
    assert (asked.run_id, asked.approval_request_id, asked.decision) == (RUN_ID, "apr_1", decision)
    assert asked.reason == "because"


async def test_an_approval_that_somebody_decided_before_is_a_conflict(http: Http, server: FakeServer) -> None:
    code = grpc.StatusCode.FAILED_PRECONDITION
    server.replies["ResolveApproval"] = refusal(code, "APPROVAL_ALREADY_RESOLVED", "Too late.")
    async with http.post(f"{ONE}/approval", json={"choice": "once"}) as response:
        assert (await error_of(response))[:2] == (409, "approval_already_resolved")
