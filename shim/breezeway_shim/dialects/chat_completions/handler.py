"""`/v1/chat/completions`: creating completions, and listing, reading, changing and deleting those that are stored."""

import re
from collections.abc import Awaitable

from aiohttp import web
from breezeway.v1 import item_pb2, run_pb2, run_service_pb2, store_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.body import decode, decode_fields, read_body
from breezeway_shim.dialects.chat_completions.completion import completion_of
from breezeway_shim.dialects.chat_completions.following import follow_completion, run_completion
from breezeway_shim.dialects.chat_completions.listed import messages_of
from breezeway_shim.dialects.chat_completions.request import DIALECT, parse
from breezeway_shim.dialects.chat_completions.schema import UPDATE
from breezeway_shim.dialects.cursor import cursor_in, refuse_cursor
from breezeway_shim.dialects.headers import run_options
from breezeway_shim.errors import INVALID_REQUEST, ApiError, RequestError, rpc_errors
from breezeway_shim.ids import chat_completion_id
from breezeway_shim.openai_items.answers import PageQuery, json_answer, list_object, page_query

_PATH = "/v1/chat/completions"
_PAGE_SIZE = 1000
_METADATA = re.compile(r"metadata\[(.+)\]")
_PARAMS = {"after_run_id": "after", "page_size": "limit"}


def add_routes(app: web.Application) -> None:
    """Serve the dialect."""
    app.router.add_post(_PATH, create_chat_completion)
    app.router.add_get(_PATH, list_chat_completions)
    app.router.add_get(f"{_PATH}/{{completion_id}}", get_chat_completion)
    app.router.add_post(f"{_PATH}/{{completion_id}}", update_chat_completion)
    app.router.add_delete(f"{_PATH}/{{completion_id}}", delete_chat_completion)
    app.router.add_get(f"{_PATH}/{{completion_id}}/messages", list_messages)


async def create_chat_completion(request: web.Request) -> web.StreamResponse:
    """Answer with a completion: whole, or as a stream.

    With an Idempotency-Key that came before, it is the run of then; `Last-Event-ID` goes on in its stream.
    """
    return await _completed(request, await read_body(request))


def _completed(request: web.Request, body: bytes) -> Awaitable[web.StreamResponse]:
    options = run_options(request)
    call = parse(body, options)
    if not call.stream:
        refuse_cursor(request)
    after = cursor_in(request)
    if after and not options.request_id:
        raise RequestError(
            "Last-Event-ID goes on with a run, and a POST without the Idempotency-Key of one begins another.",
            code="invalid_value",
        )
    return run_completion(request, call, after=after)


async def get_chat_completion(request: web.Request) -> web.StreamResponse:
    """Answer with a stored completion, or with the stream of one, stored or still there, from after a frame on."""
    if _is_true(request, "stream"):
        run_id = request.match_info["completion_id"]
        usage = _is_true(request, "include_usage")
        return await follow_completion(request, run_id, after=cursor_in(request) or 0, include_usage=usage)
    refuse_cursor(request)
    return json_answer(completion_of(await _stored_run(request)))


async def list_chat_completions(request: web.Request) -> web.Response:
    """Answer with a page of the stored completions that ended well, oldest first unless asked otherwise."""
    page = page_query(request, default_order="asc")
    metadata = {match[1]: value for key, value in request.query.items() if (match := _METADATA.fullmatch(key))}
    wanted = run_service_pb2.ListRunsRequest(
        page_size=page.limit,
        after_run_id=page.after,
        ascending=page.ascending,
        agent=request.query.get("model", ""),
        states=[run_pb2.RUN_STATE_COMPLETED, run_pb2.RUN_STATE_INCOMPLETE],
        dialect=DIALECT,
        metadata=metadata,
    )
    backend = request.app[BACKEND]
    reply = await backend.read(
        backend.runs.ListRuns, wanted, metadata_of(request), lambda name: _PARAMS.get(name, name)
    )
    return json_answer(list_object([completion_of(run) for run in reply.runs], has_more=bool(reply.next_page_token)))


async def update_chat_completion(request: web.Request) -> web.Response:
    """Replace a stored completion's metadata, and answer with the completion."""
    body = await read_body(request)
    decode_fields(body)
    update = decode(UPDATE, body)
    run = await _stored_run(request)
    # Before anything is changed: where there is no completion there is nothing to answer with.
    completion_of(run)
    wanted = run_service_pb2.UpdateRunRequest(run_id=run.id, metadata=update.metadata or {})
    with rpc_errors():
        reply = await request.app[BACKEND].runs.UpdateRun(wanted, metadata=metadata_of(request))
    return json_answer(completion_of(reply.run))


async def delete_chat_completion(request: web.Request) -> web.Response:
    """Delete a stored completion."""
    run = await _stored_run(request)
    with rpc_errors():
        await request.app[BACKEND].runs.DeleteRun(
            run_service_pb2.DeleteRunRequest(run_id=run.id), metadata=metadata_of(request)
        )
    return json_answer({"id": chat_completion_id(run.id), "object": "chat.completion.deleted", "deleted": True})


async def list_messages(request: web.Request) -> web.Response:
    """Answer with a page of what a stored completion read: its messages, and the conversation before them."""
    page = page_query(request, default_order="asc")
    run = await _stored_run(request)
    messages = messages_of(await _input_items(request, run.id))
    if not page.ascending:
        messages.reverse()
    ids = [message["id"] for message in messages]
    start = _position(ids, page) if page.after else 0
    end = start + page.limit
    return json_answer(list_object(messages[start:end], has_more=end < len(messages)))


async def _input_items(request: web.Request, run_id: str) -> list[item_pb2.Item]:
    """All that a run read, oldest first."""
    backend, metadata = request.app[BACKEND], metadata_of(request)
    items: list[item_pb2.Item] = []
    has_more = True
    while has_more:
        wanted = store_service_pb2.ListRunItemsRequest(
            run_id=run_id,
            kind=store_service_pb2.RUN_ITEM_KIND_INPUT,
            page_size=_PAGE_SIZE,
            after_item_id=items[-1].id if items else "",
            ascending=True,
        )
        reply = await backend.read(backend.store.ListRunItems, wanted, metadata)
        items += reply.items
        has_more = reply.has_more
    return items


def _position(ids: list[str], page: PageQuery) -> int:
    if page.after not in ids:
        raise ApiError(404, INVALID_REQUEST, "not_found", f"There is no message {page.after[:128]!r} here.", "after")
    return ids.index(page.after) + 1


async def _stored_run(request: web.Request) -> run_pb2.Run:
    """The run whose id is in the path. Raises `ApiError` 404 also for one that is not stored, as OpenAI does."""
    run_id = request.match_info["completion_id"]
    backend = request.app[BACKEND]
    reply = await backend.read(backend.runs.GetRun, run_service_pb2.GetRunRequest(run_id=run_id), metadata_of(request))
    if reply.run.spec.durability == run_pb2.DURABILITY_MEMORY:
        raise ApiError(404, INVALID_REQUEST, "not_found", f"There is no stored completion {run_id[:64]!r}.")
    return reply.run


def _is_true(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in {"true", "1"}
