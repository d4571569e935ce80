"""StoreService: what outlives a run."""

import re
import time
from collections.abc import Sequence

from breezeway.v1 import conversation_pb2, item_pb2, store_service_pb2, store_service_pb2_grpc

from breezeway_server.engine import admission
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import AlreadyExists, InvalidRequest, NotFound
from breezeway_server.events.ids import Uuid7
from breezeway_server.services import validation
from breezeway_server.services.caller import current_tenant
from breezeway_server.services.context import Context
from breezeway_server.services.idempotency import request_of
from breezeway_server.store.base import Created, ItemPage, Request, Store

_DEFAULT_PAGE = 20
_MAX_ITEMS = 100


class StoreService(store_service_pb2_grpc.StoreServiceServicer):
    """Validates and translates; the store does the work."""

    def __init__(self, supervisor: Supervisor, store: Store, new_id: Uuid7) -> None:
        self._supervisor = supervisor
        self._store = store
        self._new_id = new_id

    async def CreateConversation(
        self, request: store_service_pb2.CreateConversationRequest, context: Context
    ) -> store_service_pb2.CreateConversationResponse:
        """See store_service.proto."""
        if request.conversation_id.startswith("conv_"):
            raise InvalidRequest("conversation_id", "Names that begin with conv_ are given by the server.")
        if request.conversation_id:
            validation.conversation_id(request.conversation_id, "conversation_id")
        validation.metadata(request.metadata, "metadata")
        repeatable = request_of(request)
        earlier = await self._created(repeatable)
        if earlier is not None:
            return store_service_pb2.CreateConversationResponse(conversation=earlier.conversation)
        conversation = conversation_pb2.Conversation(
            id=request.conversation_id or f"conv_{self._new_id()}", metadata=request.metadata
        )
        conversation.create_time.FromNanoseconds(time.time_ns())
        items = await self._take_in(request.items, "items")
        created = await self._store.create_conversation(current_tenant(), conversation, items, repeatable)
        if created is None:
            raise AlreadyExists("CONVERSATION_EXISTS", f"There is a conversation {conversation.id} already.")
        return store_service_pb2.CreateConversationResponse(conversation=created)

    async def GetConversation(
        self, request: store_service_pb2.GetConversationRequest, context: Context
    ) -> store_service_pb2.GetConversationResponse:
        """See store_service.proto."""
        conversation = await self._conversation(request.conversation_id)
        return store_service_pb2.GetConversationResponse(conversation=conversation)

    async def ListConversations(
        self, request: store_service_pb2.ListConversationsRequest, context: Context
    ) -> store_service_pb2.ListConversationsResponse:
        """See store_service.proto."""
        size = validation.page_size(request.page_size, _DEFAULT_PAGE)
        before = _place(request.page_token) if request.page_token else None
        found = await self._store.list_conversations(current_tenant(), before, size + 1)
        token = _page_token(found[size - 1]) if len(found) > size else ""
        return store_service_pb2.ListConversationsResponse(conversations=found[:size], next_page_token=token)

    async def UpdateConversation(
        self, request: store_service_pb2.UpdateConversationRequest, context: Context
    ) -> store_service_pb2.UpdateConversationResponse:
        """See store_service.proto."""
        validation.metadata(request.metadata, "metadata")
        conversation = await self._conversation(request.conversation_id)
        conversation.metadata.clear()
        conversation.metadata.update(request.metadata)
        if not await self._store.update_conversation(current_tenant(), conversation):
            raise _no_conversation(request.conversation_id)
        return store_service_pb2.UpdateConversationResponse(conversation=conversation)

    async def DeleteConversation(
        self, request: store_service_pb2.DeleteConversationRequest, context: Context
    ) -> store_service_pb2.DeleteConversationResponse:
        """See store_service.proto."""
        # What a run that is under way writes would be left over, with nobody to delete it.
        async with self._supervisor.idle(current_tenant(), request.conversation_id):
            deleted = await self._store.delete_conversation(current_tenant(), request.conversation_id)
        if not deleted:
            raise _no_conversation(request.conversation_id)
        return store_service_pb2.DeleteConversationResponse()

    async def CreateConversationItems(
        self, request: store_service_pb2.CreateConversationItemsRequest, context: Context
    ) -> store_service_pb2.CreateConversationItemsResponse:
        """See store_service.proto."""
        if not request.items:
            raise InvalidRequest("items", "items is empty; give at least one.")
        repeatable = request_of(request)
        earlier = await self._created(repeatable)
        if earlier is not None:
            return store_service_pb2.CreateConversationItemsResponse(items=earlier.items)
        # A run that is under way would not see them, and they would come in the middle of its turn.
        async with self._supervisor.idle(current_tenant(), request.conversation_id):
            items = await self._take_in(request.items, "items")
            added = await self._store.add_conversation_items(
                current_tenant(), request.conversation_id, items, repeatable
            )
        if added is None:
            raise _no_conversation(request.conversation_id)
        return store_service_pb2.CreateConversationItemsResponse(items=added)

    async def ListConversationItems(
        self, request: store_service_pb2.ListConversationItemsRequest, context: Context
    ) -> store_service_pb2.ListConversationItemsResponse:
        """See store_service.proto."""
        await self._conversation(request.conversation_id)
        page = _page(request)
        found = await self._store.list_conversation_items(current_tenant(), request.conversation_id, page)
        if found is None:
            raise _no_item(page.after_item_id)
        return store_service_pb2.ListConversationItemsResponse(items=found[0], has_more=found[1])

    async def GetConversationItem(
        self, request: store_service_pb2.GetConversationItemRequest, context: Context
    ) -> store_service_pb2.GetConversationItemResponse:
        """See store_service.proto."""
        await self._conversation(request.conversation_id)
        item = await self._store.get_conversation_item(current_tenant(), request.conversation_id, request.item_id)
        if item is None:
            raise _no_item(request.item_id)
        return store_service_pb2.GetConversationItemResponse(item=item)

    async def DeleteConversationItem(
        self, request: store_service_pb2.DeleteConversationItemRequest, context: Context
    ) -> store_service_pb2.DeleteConversationItemResponse:
        """See store_service.proto."""
        conversation = await self._conversation(request.conversation_id)
        if not await self._store.remove_conversation_item(current_tenant(), request.conversation_id, request.item_id):
            raise _no_item(request.item_id)
        return store_service_pb2.DeleteConversationItemResponse(conversation=conversation)

    async def ListRunItems(
        self, request: store_service_pb2.ListRunItemsRequest, context: Context
    ) -> store_service_pb2.ListRunItemsResponse:
        """See store_service.proto."""
        run_id = validation.run_id(request.run_id)
        if await self._store.run_head(current_tenant(), run_id) is None:
            raise NotFound("RUN_NOT_FOUND", f"There is no stored run {run_id}.")
        page = _page(request)
        output = request.kind == store_service_pb2.RUN_ITEM_KIND_OUTPUT
        found = await self._store.list_run_items(current_tenant(), run_id, page, output=output)
        if found is None:
            raise _no_item(page.after_item_id)
        return store_service_pb2.ListRunItemsResponse(items=found[0], has_more=found[1])

    async def _conversation(self, conversation_id: str) -> conversation_pb2.Conversation:
        found = await self._store.get_conversation(current_tenant(), conversation_id)
        if found is None:
            raise _no_conversation(conversation_id)
        return found

    async def _created(self, request: Request | None) -> Created | None:
        return None if request is None else await self._store.find_created(current_tenant(), request)

    async def _take_in(self, items: Sequence[item_pb2.Item], field: str) -> list[item_pb2.Item]:
        if len(items) > _MAX_ITEMS:
            raise InvalidRequest(field, f"{field} has {len(items)} items; it may have {_MAX_ITEMS}.")
        validation.each(items, field)
        resolved = await admission.resolve_references(self._store, current_tenant(), items, field=field)
        taken = admission.take_in(resolved, f"run_{self._new_id()}", time.time_ns())
        for item in taken:
            # They belong to no run; the id only sorts them.
            item.ClearField("run_id")
        return taken


def _page(
    request: store_service_pb2.ListConversationItemsRequest | store_service_pb2.ListRunItemsRequest,
) -> ItemPage:
    return ItemPage(
        after_item_id=request.after_item_id,
        ascending=request.ascending,
        limit=validation.page_size(request.page_size, _DEFAULT_PAGE),
    )


# A page token is the place of the page's last conversation in the list: when it was created, in nanoseconds since
# 1970, and its id.
def _page_token(conversation: conversation_pb2.Conversation) -> str:
    return f"{conversation.create_time.ToNanoseconds()}_{conversation.id}"


def _place(token: str) -> tuple[int, str]:
    time_ns, _, conversation_id = token.partition("_")
    if not re.fullmatch(r"[0-9]{1,19}", time_ns, re.ASCII) or int(time_ns) >= 2**63 or not conversation_id:
        raise InvalidRequest("page_token", "page_token is none that ListConversations gave.")
    return int(time_ns), conversation_id


def _no_conversation(conversation_id: str) -> NotFound:
    return NotFound("CONVERSATION_NOT_FOUND", f"There is no conversation {conversation_id[:128]!r}.")


def _no_item(item_id: str) -> NotFound:
    return NotFound("ITEM_NOT_FOUND", f"There is no item {item_id[:128]!r} here.")
