"""`/v1/runs`: starting runs, and watching, stopping and deciding for those that are under way."""

from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from breezeway.v1 import run_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.body import read_body
from breezeway_shim.dialects.agents import list_agents
from breezeway_shim.dialects.cursor import cursor_in
from breezeway_shim.dialects.headers import conversation_headers, run_options
from breezeway_shim.dialects.runs.following import follow
from breezeway_shim.dialects.runs.objects import run_json, status_of
from breezeway_shim.dialects.runs.request import DECISIONS, chosen_agent, parse, parse_approval
from breezeway_shim.errors import rpc_errors
from breezeway_shim.openai_items.answers import json_answer
from breezeway_shim.rate_limits import note_rate_limits

_RUN = "/v1/runs/{run_id}"
_APPROVAL_PARAMS = {"approval_request_id": "approval_id", "decision": "choice"}


def add_routes(app: web.Application) -> None:
    """Serve the dialect."""
    app.router.add_post("/v1/runs", start_run)
    app.router.add_get(_RUN, get_run)
    app.router.add_get(f"{_RUN}/events", stream_events)
    app.router.add_post(f"{_RUN}/stop", stop_run)
    app.router.add_post(f"{_RUN}/approval", resolve_approval)


async def start_run(request: web.Request) -> web.Response:
    """Start a run, and answer with its id once it is durable.

    With an Idempotency-Key that came before, it is the run of then.
    """
    body = await read_body(request)
    options = run_options(request)
    call = parse(body, options)
    metadata = metadata_of(request)
    if not call.spec.agent:
        call.spec.agent = chosen_agent([agent.name for agent in await list_agents(request)])
    accept = run_service_pb2.CreateRunRequest(spec=call.spec, input=call.input, request_id=options.request_id)
    run = await request.app[BACKEND].create_run(
        accept, metadata, call.field_to_param, partial(note_rate_limits, request)
    )
    headers = {**conversation_headers(request), "X-Run-Id": run.id}
    answer = msgspec.json.encode({"run_id": run.id, "status": "started"})
    return web.Response(status=202, body=answer, content_type="application/json", headers=headers)


async def get_run(request: web.Request) -> web.Response:
    """Answer with a run as it is now, by any spelling of its id."""
    backend = request.app[BACKEND]
    wanted = run_service_pb2.GetRunRequest(run_id=_run_id(request))
    reply = await backend.read(backend.runs.GetRun, wanted, metadata_of(request))
    return json_answer(run_json(reply.run))


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream a run's events, from behind `Last-Event-ID` or `starting_after` where one is given."""
    return await follow(request, _run_id(request), after=cursor_in(request) or 0)


async def stop_run(request: web.Request) -> web.Response:
    """Cancel a run, and answer once that has settled; one that is over stays as it is."""
    wanted = run_service_pb2.CancelRunRequest(run_id=_run_id(request))
    with rpc_errors():
        reply = await request.app[BACKEND].runs.CancelRun(wanted, metadata=metadata_of(request))
    return json_answer({"run_id": reply.run.id, "status": status_of(reply.run)})


async def resolve_approval(request: web.Request) -> web.Response:
    """Decide an approval that a run waits for, exactly once."""
    answer = parse_approval(await read_body(request))
    wanted = run_service_pb2.ResolveApprovalRequest(
        run_id=_run_id(request),
        approval_request_id=answer.approval_id or "",
        decision=DECISIONS[answer.choice],
        reason=answer.reason or "",
    )
    with rpc_errors(lambda field: _APPROVAL_PARAMS.get(field, field)):
        reply = await request.app[BACKEND].runs.ResolveApproval(wanted, metadata=metadata_of(request))
    said: dict[str, Any] = {"run_id": reply.run.id, "choice": answer.choice, "status": status_of(reply.run)}
    return json_answer(said)


def _run_id(request: web.Request) -> str:
    return request.match_info["run_id"]
