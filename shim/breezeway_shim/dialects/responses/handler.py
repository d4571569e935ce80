"""`/v1/responses`: creating, reading, deleting and cancelling responses, their input items, and counting tokens."""

from collections.abc import Awaitable
from functools import partial

from aiohttp import web
from breezeway.v1 import run_pb2, run_service_pb2, store_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.body import read_body
from breezeway_shim.dialects.cursor import cursor_in, refuse_cursor
from breezeway_shim.dialects.headers import conversation_headers, run_options
from breezeway_shim.dialects.responses.deciding import decide
from breezeway_shim.dialects.responses.following import follow_response, run_response
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.request import ResponseCall, parse, refuse_unknown_include
from breezeway_shim.errors import INVALID_REQUEST, ApiError, RequestError, rpc_errors
from breezeway_shim.ids import response_id
from breezeway_shim.openai_items.answers import json_answer, list_json, page_query
from breezeway_shim.rate_limits import note_rate_limits


def add_routes(app: web.Application) -> None:
    """Serve the dialect."""
    app.router.add_post("/v1/responses", create_response)
    # Before the routes with an id, because it looks like one.
    app.router.add_post("/v1/responses/input_tokens", count_input_tokens)
    app.router.add_get("/v1/responses/{response_id}", get_response)
    app.router.add_delete("/v1/responses/{response_id}", delete_response)
    app.router.add_post("/v1/responses/{response_id}/cancel", cancel_response)
    app.router.add_get("/v1/responses/{response_id}/input_items", list_input_items)


async def create_response(request: web.Request) -> web.StreamResponse:
    """Answer with a response: whole, as a stream, or, where it goes on in the background, as it was accepted.

    Where the input decides approvals, it is the response that waits for them.
    """
    return await _responded(request, await read_body(request))


def _responded(request: web.Request, body: bytes) -> Awaitable[web.StreamResponse]:
    call = parse(body, run_options(request))
    if call.decisions is not None:
        return decide(request, call, call.decisions)
    if call.stream or not call.spec.background:
        return run_response(request, call)
    return _accepted(request, call)


async def _accepted(request: web.Request, call: ResponseCall) -> web.Response:
    accept = run_service_pb2.CreateRunRequest(spec=call.spec, input=call.input, request_id=call.options.request_id)
    run = await request.app[BACKEND].create_run(
        accept, metadata_of(request), call.field_to_param, partial(note_rate_limits, request)
    )
    return json_answer(response_json(run), {**conversation_headers(request), "X-Run-Id": run.id})


async def count_input_tokens(request: web.Request) -> web.Response:
    """Answer with an estimate of what the model would read; nothing is generated."""
    body = await read_body(request)
    call = parse(body, run_options(request))
    count = run_service_pb2.CountTokensRequest(spec=call.spec, input=call.input)
    backend = request.app[BACKEND]
    reply = await backend.read(backend.runs.CountTokens, count, metadata_of(request), call.field_to_param)
    return json_answer({"object": "response.input_tokens", "input_tokens": reply.input_tokens})


async def get_response(request: web.Request) -> web.StreamResponse:
    """Answer with a stored response as it is now, or with its stream from after an event on."""
    query = request.query
    refuse_unknown_include([*query.getall("include", []), *query.getall("include[]", [])])
    if _is_true(request, "include_obfuscation"):
        raise RequestError("Streams are not padded here.", "include_obfuscation", code="unsupported_value")
    if not _is_true(request, "stream"):
        refuse_cursor(request)
        return json_answer(response_json(await _stored_run(request)))
    after = cursor_in(request)
    return await follow_response(request, await _stored_run(request), after=-1 if after is None else after)


async def delete_response(request: web.Request) -> web.Response:
    """Delete a stored response."""
    run = await _stored_run(request)
    with rpc_errors():
        await request.app[BACKEND].runs.DeleteRun(
            run_service_pb2.DeleteRunRequest(run_id=run.id), metadata=metadata_of(request)
        )
    return json_answer({"id": response_id(run.id), "object": "response", "deleted": True})


async def cancel_response(request: web.Request) -> web.Response:
    """Cancel a background response, and answer once that has settled; one that is over stays as it is."""
    run = await _stored_run(request)
    if not run.spec.background:
        raise ApiError(
            400, INVALID_REQUEST, "invalid_value", "Only a response that was created with background can be cancelled."
        )
    with rpc_errors():
        reply = await request.app[BACKEND].runs.CancelRun(
            run_service_pb2.CancelRunRequest(run_id=run.id), metadata=metadata_of(request)
        )
    return json_answer(response_json(reply.run))


async def list_input_items(request: web.Request) -> web.Response:
    """Answer with a page of what a stored response read: its input, and the history before it."""
    page = page_query(request)
    wanted = store_service_pb2.ListRunItemsRequest(
        run_id=request.match_info["response_id"],
        kind=store_service_pb2.RUN_ITEM_KIND_INPUT,
        page_size=page.limit,
        after_item_id=page.after,
        ascending=page.ascending,
    )
    backend = request.app[BACKEND]
    reply = await backend.read(backend.store.ListRunItems, wanted, metadata_of(request), _list_param)
    return json_answer(list_json(reply.items, has_more=reply.has_more))


async def _stored_run(request: web.Request) -> run_pb2.Run:
    """The run whose id is in the path. Raises `ApiError` 404 also for one that is not stored, as OpenAI does."""
    run_id = request.match_info["response_id"]
    backend = request.app[BACKEND]
    wanted = run_service_pb2.GetRunRequest(run_id=run_id)
    reply = await backend.read(backend.runs.GetRun, wanted, metadata_of(request))
    if reply.run.spec.durability == run_pb2.DURABILITY_MEMORY:
        raise ApiError(404, INVALID_REQUEST, "not_found", f"There is no stored response {run_id[:64]!r}.")
    return reply.run


def _is_true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"true", "1"}


def _list_param(field: str) -> str:
    return {"after_item_id": "after", "page_size": "limit"}.get(field, field)
