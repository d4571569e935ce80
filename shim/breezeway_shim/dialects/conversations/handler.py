"""`/v1/conversations`: conversations and their items, over StoreService."""

from typing import Any

from aiohttp import web
from breezeway.v1 import conversation_pb2, store_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.body import decode, decode_fields, read_body
from breezeway_shim.dialects.conversations.schema import CREATE_CONVERSATION, CREATE_ITEMS, UPDATE_CONVERSATION
from breezeway_shim.dialects.fields import item_param
from breezeway_shim.dialects.headers import request_id_in
from breezeway_shim.errors import INVALID_REQUEST, ApiError, rpc_errors
from breezeway_shim.openai_items.answers import json_answer, list_json, page_query
from breezeway_shim.openai_items.listed import item_json
from breezeway_shim.openai_items.requested import items_of

_PATH = "/v1/conversations/{conversation_id}"
_PARAMS = {"conversation_id": "id", "after_item_id": "after", "page_size": "limit", "request_id": "Idempotency-Key"}


def add_routes(app: web.Application) -> None:
    """Serve the dialect."""
    app.router.add_post("/v1/conversations", create_conversation)
    app.router.add_get(_PATH, get_conversation)
    app.router.add_post(_PATH, update_conversation)
    app.router.add_delete(_PATH, delete_conversation)
    app.router.add_post(f"{_PATH}/items", create_items)
    app.router.add_get(f"{_PATH}/items", list_items)
    app.router.add_get(f"{_PATH}/items/{{item_id}}", get_item)
    app.router.add_delete(f"{_PATH}/items/{{item_id}}", delete_item)


async def create_conversation(request: web.Request) -> web.Response:
    """Create a conversation, with its first items where the body has some; the body may be empty.

    With an Idempotency-Key that came before, it is the conversation of then.
    """
    body = await read_body(request) or b"{}"
    decode_fields(body)
    wanted = decode(CREATE_CONVERSATION, body)
    create = store_service_pb2.CreateConversationRequest(
        conversation_id=wanted.id or "",
        metadata=wanted.metadata or {},
        items=items_of(wanted.items or (), "items"),
        request_id=request_id_in(request),
    )
    with rpc_errors(_param):
        reply = await request.app[BACKEND].store.CreateConversation(create, metadata=metadata_of(request))
    return json_answer(_conversation_json(reply.conversation))


async def get_conversation(request: web.Request) -> web.Response:
    """Answer with a conversation."""
    wanted = store_service_pb2.GetConversationRequest(conversation_id=_conversation_id(request))
    backend = request.app[BACKEND]
    reply = await backend.read(backend.store.GetConversation, wanted, metadata_of(request), _param)
    return json_answer(_conversation_json(reply.conversation))


async def update_conversation(request: web.Request) -> web.Response:
    """Replace a conversation's metadata."""
    body = await read_body(request)
    decode_fields(body)
    wanted = decode(UPDATE_CONVERSATION, body)
    update = store_service_pb2.UpdateConversationRequest(
        conversation_id=_conversation_id(request), metadata=wanted.metadata or {}
    )
    with rpc_errors(_param):
        reply = await request.app[BACKEND].store.UpdateConversation(update, metadata=metadata_of(request))
    return json_answer(_conversation_json(reply.conversation))


async def delete_conversation(request: web.Request) -> web.Response:
    """Delete a conversation; its responses stay."""
    conversation_id = _conversation_id(request)
    delete = store_service_pb2.DeleteConversationRequest(conversation_id=conversation_id)
    with rpc_errors(_param):
        await request.app[BACKEND].store.DeleteConversation(delete, metadata=metadata_of(request))
    return json_answer({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


async def create_items(request: web.Request) -> web.Response:
    """Add items at the end of a conversation, and answer with them.

    With an Idempotency-Key that came before, they are those of then.
    """
    body = await read_body(request)
    decode_fields(body)
    wanted = decode(CREATE_ITEMS, body)
    create = store_service_pb2.CreateConversationItemsRequest(
        conversation_id=_conversation_id(request),
        items=items_of(wanted.items, "items"),
        request_id=request_id_in(request),
    )
    with rpc_errors(_param):
        reply = await request.app[BACKEND].store.CreateConversationItems(create, metadata=metadata_of(request))
    return json_answer(list_json(reply.items, has_more=False))


async def list_items(request: web.Request) -> web.Response:
    """Answer with a page of a conversation's items."""
    page = page_query(request)
    wanted = store_service_pb2.ListConversationItemsRequest(
        conversation_id=_conversation_id(request),
        page_size=page.limit,
        after_item_id=page.after,
        ascending=page.ascending,
    )
    backend = request.app[BACKEND]
    reply = await backend.read(backend.store.ListConversationItems, wanted, metadata_of(request), _param)
    return json_answer(list_json(reply.items, has_more=reply.has_more))


async def get_item(request: web.Request) -> web.Response:
    """Answer with one item."""
    wanted = store_service_pb2.GetConversationItemRequest(
        conversation_id=_conversation_id(request), item_id=request.match_info["item_id"]
    )
    backend = request.app[BACKEND]
    reply = await backend.read(backend.store.GetConversationItem, wanted, metadata_of(request), _param)
    listed = item_json(reply.item)
    if listed is None:
        raise ApiError(404, INVALID_REQUEST, "not_found", "OpenAI's lists have no form for an item of this kind.")
    return json_answer(listed)


async def delete_item(request: web.Request) -> web.Response:
    """Take an item out of a conversation, and answer with the conversation."""
    delete = store_service_pb2.DeleteConversationItemRequest(
        conversation_id=_conversation_id(request), item_id=request.match_info["item_id"]
    )
    with rpc_errors(_param):
        reply = await request.app[BACKEND].store.DeleteConversationItem(delete, metadata=metadata_of(request))
    return json_answer(_conversation_json(reply.conversation))


def _conversation_id(request: web.Request) -> str:
    return request.match_info["conversation_id"]


def _conversation_json(conversation: conversation_pb2.Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": conversation.create_time.seconds,
        "metadata": dict(conversation.metadata),
    }


def _param(field: str) -> str:
    """What the caller calls a field of the server's."""
    return item_param(field, "items") if field.startswith("items") else _PARAMS.get(field, field)
