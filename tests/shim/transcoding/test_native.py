import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from breezeway.v1 import (
    agent_registry_service_pb2,
    event_pb2,
    job_service_pb2,
    run_pb2,
    run_service_pb2,
    store_service_pb2,
)

from tests.support.fake_server import FakeServer, refusal
from tests.support.logs import read_log
from tests.support.patience import PATIENCE

RUN = run_pb2.Run(id="run_1", state=run_pb2.RUN_STATE_COMPLETED, last_sequence=2**53 + 1)


async def status_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    assert answer.content_type == "application/json"
    status: dict[str, Any] = await answer.json()
    assert set(status) == {"code", "message", "details"}
    return status


async def test_a_run_is_created_read_and_cancelled(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies = {
        "CreateRun": run_service_pb2.CreateRunResponse(run=RUN),
        "GetRun": run_service_pb2.GetRunResponse(run=RUN),
        "CancelRun": run_service_pb2.CancelRunResponse(run=RUN),
    }
    body = {
        "spec": {"agent": "demo", "sampling": {"seed": "9007199254740993", "temperature": 0.5}},
        "input": [{"message": {"role": "ROLE_USER", "content": [{"text": {"text": "Hi"}}]}}],
        "request_id": "r1",
    }
    async with http.post("/api/runs", json=body) as answer:
        assert answer.status == 200
        assert (await answer.json())["run"]["lastSequence"] == "9007199254740993"
    request = server.calls[-1].request
    assert request.spec.sampling.seed == 2**53 + 1
    assert request.input[0].message.content[0].text.text == "Hi"
    assert request.request_id == "r1"
    async with http.get("/api/runs/run_1") as answer:
        assert (await answer.json())["run"]["state"] == "RUN_STATE_COMPLETED"
    async with http.post("/api/runs/run_1:cancel") as answer:
        assert answer.status == 200
    assert server.calls[-1].method == "CancelRun"
    assert server.calls[-1].request.run_id == "run_1"


async def test_a_list_takes_filters_and_is_a_list_also_where_it_is_empty(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.replies = {"ListRuns": run_service_pb2.ListRunsResponse()}
    query = "pageSize=5&states=RUN_STATE_FAILED&states=7&metadata[team]=a&ascending=true"
    async with http.get(f"/api/runs?{query}") as answer:
        assert await answer.json() == {"runs": [], "nextPageToken": ""}
    request = server.calls[-1].request
    assert request == run_service_pb2.ListRunsRequest(
        page_size=5,
        states=[run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED],
        metadata={"team": "a"},
        ascending=True,
    )


async def test_names_of_agents_may_hold_what_paths_do_not(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies = {"GetAgent": agent_registry_service_pb2.GetAgentResponse()}
    for name in ("org%2Fmodel:8b", "llama3:8b"):
        async with http.get(f"/api/agents/{name}") as answer:
            assert answer.status == 200
    assert [call.request.name for call in server.calls] == ["org/model:8b", "llama3:8b"]


async def test_errors_of_the_server_are_passed_on(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies = {"ListRunItems": refusal(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", "There is no such run.")}
    async with http.get("/api/runs/run_2/items") as answer:
        assert answer.status == 404
        status = await status_of(answer)
    assert status["message"] == "There is no such run."
    assert status["details"][0]["reason"] == "RUN_NOT_FOUND"


async def test_a_stream_of_events_resumes(http: aiohttp.ClientSession, server: FakeServer) -> None:
    log: list[event_pb2.RunEvent] = list(read_log("text"))
    server.plays(log)
    async with http.post("/api/runs:stream", json={"spec": {"agent": "demo"}}) as answer:
        whole = (await answer.read()).decode()
    frames = whole.removesuffix("\n\n").split("\n\n")
    assert [frame.split("\n")[0] for frame in frames] == [f"id: {event.sequence}" for event in log]
    assert json.loads(frames[0].partition("\ndata: ")[2])["events"][0]["runQueued"] is not None
    for seen in (0, 1, len(log) - 1):
        headers = {"Last-Event-ID": str(seen)}
        async with http.get("/api/runs/run_1/events", headers=headers) as answer:
            assert (await answer.read()).decode() == "".join(frame + "\n\n" for frame in frames[seen:])


async def test_a_client_that_leaves_a_stream_cancels_the_call(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.steps = [[read_log("text")[0]], asyncio.Event()]
    async with http.get("/api/runs/run_1/events") as answer:
        await answer.content.readuntil(b"\n\n")
    await asyncio.wait_for(server.cancelled.wait(), PATIENCE)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/api/runs", {"spec": {"agnet": "demo"}}, "spec.agnet"),
        ("GET", "/api/runs?page=1", None, "page"),
        ("POST", "/api/runs/run_1:resolveApproval", {"decision": "MAYBE"}, "decision"),
    ],
)
async def test_a_fault_is_named_by_its_path(
    http: aiohttp.ClientSession, server: FakeServer, method: str, path: str, body: Any, field: str
) -> None:
    server.replies = {"ListAgents": agent_registry_service_pb2.ListAgentsResponse()}
    async with http.request(method, path, json=body) as answer:
        assert answer.status == 400
        status = await status_of(answer)
    assert status["details"][0]["fieldViolations"][0]["field"] == field


async def test_the_key_comes_before_what_the_request_says(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies = {"ListAgents": refusal(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "No such key.")}
    async with http.post("/api/runs", data=b"{") as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await status_of(answer))["code"] == 16
    async with http.get("/api/runs", headers={"Authorization": "Bearer é"}) as answer:
        assert answer.status == 401


async def test_an_unknown_path_and_a_wrong_method(http: aiohttp.ClientSession) -> None:
    for path in ("/api/", "/api/nothing", "/api/runs/", "/api/runs/run_1/items/x"):
        async with http.get(path) as answer:
            assert answer.status == 404
            assert path in (await status_of(answer))["message"]
    async with http.put("/api/runs/run_1") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "DELETE, GET, PATCH"
        assert (await status_of(answer))["code"] == 12


async def test_a_conversation_is_changed_by_path_and_body(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies = {"UpdateConversation": store_service_pb2.UpdateConversationResponse()}
    async with http.patch("/api/conversations/mine", json={"metadata": {"a": "b"}}) as answer:
        assert answer.status == 200
    assert server.calls[-1].request.conversation_id == "mine"
    assert server.calls[-1].request.metadata == {"a": "b"}


async def test_an_idempotency_key_is_the_request_id_of_what_is_created(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    server.replies = {
        "CreateJob": job_service_pb2.CreateJobResponse(),
        "CreateAgent": agent_registry_service_pb2.CreateAgentResponse(),
        "CreateRun": run_service_pb2.CreateRunResponse(run=RUN),
    }
    for path, body in (("/api/jobs", {}), ("/api/profiles/a", {}), ("/api/runs", {"requestId": "once"})):
        async with http.post(path, json=body, headers={"Idempotency-Key": "once"}) as answer:
            assert answer.status == 200
        assert server.calls[-1].request.request_id == "once"
    refused: list[tuple[dict[str, str], str, str]] = [
        ({"request_id": "other"}, "once", "Idempotency-Key"),
        ({}, "schlüssel", "The header Idempotency-Key"),
    ]
    for body, key, named in refused:
        async with http.post("/api/jobs", json=body, headers={"Idempotency-Key": key}) as answer:
            assert answer.status == 400
            assert (await status_of(answer))["message"].startswith(named)
    # What has no request id changes nothing more when it is repeated.
    server.replies = {"CancelRun": run_service_pb2.CancelRunResponse(run=RUN)}
    async with http.post("/api/runs/run_1:cancel", headers={"Idempotency-Key": "once"}) as answer:
        assert answer.status == 200


async def test_a_path_may_hold_any_character(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies = {"GetAgent": agent_registry_service_pb2.GetAgentResponse()}
    async with http.get("/api/agents/a%0Ab%09%C2%85") as answer:
        assert answer.status == 200
    assert server.calls[-1].request.name == "a\nb\t\x85"
