"""Deciding what a run waits for, and answering with the response that goes on."""

from aiohttp import web
from breezeway.v1 import agent_registry_service_pb2, run_pb2, run_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.dialects.cursor import cursor_in, refuse_cursor
from breezeway_shim.dialects.headers import conversation_headers
from breezeway_shim.dialects.responses.approvals import (
    Decisions,
    approval_not_found,
    decision_param,
    refuse_changes,
)
from breezeway_shim.dialects.responses.following import collect_response, follow_response
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.request import ResponseCall
from breezeway_shim.errors import ApiError, RequestError, rpc_errors
from breezeway_shim.openai_items.answers import json_answer


async def decide(request: web.Request, call: ResponseCall, decisions: Decisions) -> web.StreamResponse:
    """Decide, one after the other up to the first that fails, and follow the run.

    The answer is the run's end, its stream from the first event or the place that the caller names, or, where
    `background` is asked for, the run as it is then. What its reader does is nothing to the run.
    """
    if not call.stream:
        refuse_cursor(request)
    after = cursor_in(request)
    if call.options.on_disconnect:
        raise RequestError(
            "The header X-On-Disconnect belongs to the request that creates a response.", code="invalid_value"
        )
    run = await _waiting_run(request, decisions)
    await _refuse_another_agent(request, call, run)
    refuse_changes(call.spec, run.spec, call.field_to_param)
    for index, response in enumerate(decisions.responses):
        resolve = run_service_pb2.ResolveApprovalRequest(
            run_id=run.id,
            approval_request_id=response.approval_request_id,
            decision=response.decision,
            reason=response.reason,
        )
        with rpc_errors(decision_param(index)):
            reply = await request.app[BACKEND].runs.ResolveApproval(resolve, metadata=metadata_of(request))
        run = reply.run
    if call.stream:
        return await follow_response(request, run, after=-1 if after is None else after)
    if call.spec.background:
        return json_answer(response_json(run), {**conversation_headers(request), "X-Run-Id": run.id})
    return await collect_response(request, run)


async def _waiting_run(request: web.Request, decisions: Decisions) -> run_pb2.Run:
    backend = request.app[BACKEND]
    wanted = run_service_pb2.GetRunRequest(run_id=decisions.run_id)
    try:
        reply = await backend.read(backend.runs.GetRun, wanted, metadata_of(request))
    except ApiError as error:
        if error.status != 404:
            raise
        raise approval_not_found(decisions.responses[0].approval_request_id, 0) from error
    return reply.run


async def _refuse_another_agent(request: web.Request, call: ResponseCall, run: run_pb2.Run) -> None:
    """Raise `ApiError` where `model` is neither the name nor an alias of the run's agent."""
    if call.spec.agent == run.spec.agent:
        return
    backend = request.app[BACKEND]
    wanted = agent_registry_service_pb2.GetAgentRequest(name=call.spec.agent)
    reply = await backend.read(backend.agents.GetAgent, wanted, metadata_of(request), lambda _: "model")
    if reply.agent.name != run.spec.agent:
        raise RequestError(
            f"The response that waits is one of model {run.spec.agent!r}; name that.", "model", code="invalid_value"
        )
