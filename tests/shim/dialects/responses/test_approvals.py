"""Which requests decide approvals, what they may say beside it, and what the server is asked."""

from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from breezeway.v1 import item_pb2, run_pb2, run_service_pb2
from breezeway_shim.dialects.responses.approvals import refuse_changes
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.request import parse
from breezeway_shim.errors import RequestError
from breezeway_shim.fold import RunFold

from tests.support.fake_server import FakeServer, refusal
from tests.support.logs import RUN_ID, read_log

DIGITS = RUN_ID.removeprefix("run_")
FIRST, SECOND = f"apr_{DIGITS}000002", f"apr_{DIGITS}000004"
Json = dict[str, Any]


def deciding(request_id: str, *, approve: bool = True, **fields: Any) -> Json:
    return {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve, **fields}


def body(*items: Json, **parameters: Any) -> Json:
    return {"model": "assistant", "input": list(items), **parameters}


def asked(**parameters: Any) -> run_pb2.RunSpec:
    return parse(msgspec.json.encode(body(deciding(FIRST), **parameters))).spec


def test_a_request_without_decisions_decides_nothing() -> None:
    history = [deciding(FIRST)]
    request = {"model": "assistant", "input": "hi", "conversation_history": history}
    assert parse(msgspec.json.encode(request)).decisions is None


def test_the_decisions_are_those_of_the_input() -> None:
    request = body(deciding(FIRST), deciding(SECOND, approve=False, reason="no"))
    call = parse(msgspec.json.encode(request | {"previous_response_id": f"chatcmpl-{DIGITS}"}))
    assert call.decisions is not None
    assert call.decisions.run_id == RUN_ID
    assert [(each.approval_request_id, each.decision, each.reason) for each in call.decisions.responses] == [
        (FIRST, item_pb2.APPROVAL_DECISION_ONCE, ""),
        (SECOND, item_pb2.APPROVAL_DECISION_DENY, "no"),
    ]


SAID: Json = {
    "temperature": 0,
    "top_k": 3,
    "metadata": {"a": "b"},
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
    "tool_choice": "required",
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    "store": True,
    "truncation": "disabled",
}


def test_what_is_said_again_or_left_out_is_no_change() -> None:
    there = asked(**SAID)
    for said in ({}, SAID, *({name: value} for name, value in SAID.items())):
        refuse_changes(asked(background=True, previous_response_id=RUN_ID, **said), there, str)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"temperature": 0.5}, "sampling.temperature"),
        ({"top_p": 0}, "sampling.top_p"),
        ({"top_k": 4}, "model_options.top_k"),
        ({"min_p": 4}, "model_options.min_p"),
        ({"metadata": {"a": "b", "c": "d"}}, "metadata.c"),
        ({"tools": [{"type": "function", "name": "look"}]}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice.mode"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "text"}}}, "response_format"),
        ({"store": False}, "durability"),
        ({"truncation": "auto"}, "truncation"),
    ],
)
def test_what_is_said_otherwise_is_named(said: Json, field: str) -> None:
    with pytest.raises(RequestError) as raised:
        refuse_changes(asked(**said), asked(**SAID), str)
    assert raised.value.param == f"spec.{field}"


def waiting() -> run_pb2.Run:
    fold = RunFold()
    for event in read_log("approval"):
        if event.HasField("approval_resolved"):
            break
        fold.add(event)
    assert fold.run.state == run_pb2.RUN_STATE_REQUIRES_ACTION
    return fold.run


async def test_each_decision_is_one_call_and_the_answer_is_the_run(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    run = waiting()
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    server.replies["ResolveApproval"] = run_service_pb2.ResolveApprovalResponse(run=run)
    items = [deciding(FIRST, reason="fine"), deciding(SECOND, approve=False)]
    request = body(*items, background=True) | {"model": run.spec.agent}
    async with http.post("/v1/responses", json=request) as response:
        assert response.status == 200, await response.text()
        assert response.headers["X-Run-Id"] == run.id
        assert await response.json() == response_json(run)
    resolve = run_service_pb2.ResolveApprovalRequest
    assert [call.request for call in server.calls if call.method == "ResolveApproval"] == [
        resolve(
            run_id=run.id,
            approval_request_id=FIRST,
            decision=item_pb2.APPROVAL_DECISION_ONCE,
            reason="fine",
        ),
        resolve(run_id=run.id, approval_request_id=SECOND, decision=item_pb2.APPROVAL_DECISION_DENY),
    ]


async def test_what_the_server_refuses_is_named_by_its_place(http: aiohttp.ClientSession, server: FakeServer) -> None:
    run = waiting()
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    server.replies["ResolveApproval"] = lambda wanted: (
        run_service_pb2.ResolveApprovalResponse(run=run)
        if wanted.approval_request_id == FIRST
        else refusal(grpc.StatusCode.NOT_FOUND, "APPROVAL_NOT_FOUND", "No.", field="approval_request_id")
    )
    request = body(deciding(FIRST), deciding(SECOND)) | {"model": run.spec.agent, "stream": True}
    async with http.post("/v1/responses", json=request) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (404, "approval_not_found")
        assert error["param"] == "input[1].approval_request_id"


async def test_a_caller_who_may_not_read_the_run_is_told_so(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies["GetRun"] = refusal(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING", "Not you.")
    async with http.post("/v1/responses", json=body(deciding(FIRST))) as response:
        assert response.status == 403
