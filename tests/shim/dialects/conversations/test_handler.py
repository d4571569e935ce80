from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import openai
import pytest
from breezeway.v1 import conversation_pb2, item_pb2, store_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse
from google.protobuf.timestamp_pb2 import Timestamp
from openai.types.conversations import Conversation, ConversationItem
from pydantic import TypeAdapter

from tests.support.fake_server import FakeServer, refusal
from tests.support.openai_schemas import check_schema

PATH = "/v1/conversations"
CONVERSATION = conversation_pb2.Conversation(
    id="conv_1", create_time=Timestamp(seconds=1_793_000_000), metadata={"team": "blue"}
)
LISTED = {"id": "conv_1", "object": "conversation", "created_at": 1_793_000_000, "metadata": {"team": "blue"}}
WORDS = item_pb2.ContentPart(text=item_pb2.Text(text="hi"))
ITEMS = [
    item_pb2.Item(id="msg_2", message=item_pb2.Message(role=item_pb2.ROLE_ASSISTANT, content=[WORDS])),
    item_pb2.Item(id="msg_1", message=item_pb2.Message(role=item_pb2.ROLE_USER, content=[WORDS])),
]
Http = aiohttp.ClientSession


@pytest.fixture
async def client(shim_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{shim_url}/v1", api_key="key", max_retries=0) as made:
        yield made


async def body_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.status == 200, await response.text()
    body: dict[str, Any] = await response.json()
    return body


async def test_a_conversation_is_created_with_its_first_items(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.replies["CreateConversation"] = store_service_pb2.CreateConversationResponse(conversation=CONVERSATION)
    made = await client.conversations.create(metadata={"team": "blue"}, items=[{"role": "user", "content": "hi"}])
    assert made == Conversation(**LISTED)  # type: ignore[arg-type]  # the values are those of the fields
    asked = server.calls[-1].request
    assert dict(asked.metadata) == {"team": "blue"}
    assert [item.message.content[0].text.text for item in asked.items] == ["hi"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"metadata":null,"items":null}'])
async def test_a_conversation_needs_nothing(http: Http, server: FakeServer, body: bytes) -> None:
    server.replies["CreateConversation"] = store_service_pb2.CreateConversationResponse(conversation=CONVERSATION)
    async with http.post(PATH, data=body) as response:
        made = await body_of(response)
    assert made == LISTED
    check_schema("ConversationResource", made)


async def test_a_conversation_may_have_a_name_of_the_callers(http: Http, server: FakeServer) -> None:
    server.replies["CreateConversation"] = store_service_pb2.CreateConversationResponse(conversation=CONVERSATION)
    async with http.post(PATH, json={"id": "trip"}) as response:
        await body_of(response)
    assert server.calls[-1].request.conversation_id == "trip"


async def test_an_idempotency_key_names_what_is_created(http: Http, server: FakeServer) -> None:
    server.replies["CreateConversation"] = store_service_pb2.CreateConversationResponse(conversation=CONVERSATION)
    server.replies["CreateConversationItems"] = store_service_pb2.CreateConversationItemsResponse(items=ITEMS)
    body = {"items": [{"role": "user", "content": "hi"}]}
    for path in (PATH, f"{PATH}/conv_1/items"):
        for key in ("mine", ""):
            async with http.post(path, json=body, headers={"Idempotency-Key": key} if key else {}) as response:
                await body_of(response)
            assert server.calls[-1].request.request_id == key
        async with http.post(path, json=body, headers={"Idempotency-Key": "ä"}) as response:
            assert response.status == 400


async def test_a_conversation_can_be_read_changed_and_deleted(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.replies["GetConversation"] = store_service_pb2.GetConversationResponse(conversation=CONVERSATION)
    server.replies["UpdateConversation"] = store_service_pb2.UpdateConversationResponse(conversation=CONVERSATION)
    server.replies["DeleteConversation"] = store_service_pb2.DeleteConversationResponse()
    assert (await client.conversations.retrieve("conv_1")).created_at == 1_793_000_000
    assert (await client.conversations.update("conv_1", metadata={"team": "red"})).id == "conv_1"
    assert dict(server.calls[-1].request.metadata) == {"team": "red"}
    deleted = await client.conversations.delete("conv_1")
    assert deleted.to_dict() == {"id": "conv_1", "object": "conversation.deleted", "deleted": True}
    assert {call.request.conversation_id for call in server.calls} == {"conv_1"}


async def test_items_are_added_and_answered_as_a_list(http: Http, server: FakeServer) -> None:
    server.replies["CreateConversationItems"] = store_service_pb2.CreateConversationItemsResponse(items=ITEMS)
    items = [{"role": "assistant", "content": "hi"}, {"type": "message", "role": "user", "content": "hi"}]
    query = {"include[]": "message.output_text.logprobs"}
    async with http.post(f"{PATH}/conv_1/items", json={"items": items}, params=query) as response:
        added = await body_of(response)
    check_schema("ConversationItemList", added)
    for item in added["data"]:
        TypeAdapter(ConversationItem).validate_python(item)
    assert (added["first_id"], added["last_id"], added["has_more"]) == ("msg_2", "msg_1", False)
    assert len(server.calls[-1].request.items) == 2


async def test_items_are_listed_newest_first_by_pages(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.replies["ListConversationItems"] = store_service_pb2.ListConversationItemsResponse(items=ITEMS)
    page = await client.conversations.items.list("conv_1", include=["message.output_text.logprobs"])
    assert [item.id for item in page.data] == ["msg_2", "msg_1"]
    asked = server.calls[-1].request
    assert (asked.page_size, asked.after_item_id, asked.ascending) == (20, "", False)
    await client.conversations.items.list("conv_1", limit=2, after="msg_2", order="asc")
    asked = server.calls[-1].request
    assert (asked.page_size, asked.after_item_id, asked.ascending) == (2, "msg_2", True)


async def test_an_empty_page_has_no_ids(http: Http, server: FakeServer) -> None:
    server.replies["ListConversationItems"] = store_service_pb2.ListConversationItemsResponse()
    async with http.get(f"{PATH}/conv_1/items") as response:
        listed = await body_of(response)
    assert listed == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


async def test_an_item_can_be_read(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.replies["GetConversationItem"] = store_service_pb2.GetConversationItemResponse(item=ITEMS[0])
    item = await client.conversations.items.retrieve("msg_2", conversation_id="conv_1")
    assert item.to_dict() == {
        "id": "msg_2",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
    }


async def test_deleting_an_item_answers_the_conversation(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.replies["DeleteConversationItem"] = store_service_pb2.DeleteConversationItemResponse(
        conversation=CONVERSATION
    )
    assert (await client.conversations.items.delete("msg_2", conversation_id="conv_1")).id == "conv_1"
    asked = server.calls[-1].request
    assert (asked.conversation_id, asked.item_id) == ("conv_1", "msg_2")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"items": [{"role": "user", "content": "x"}] * 21}, "items"),
        ("", {"metadata": "x"}, "metadata"),
        ("", [], None),
        ("/conv_1", {}, "metadata"),
        ("/conv_1/items", {"items": []}, "items"),
        ("/conv_1/items", {"items": [{"role": "user"}]}, "items[0].content"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    http: Http, server: FakeServer, path: str, body: object, param: str | None
) -> None:
    server.replies["ListAgents"] = ListAgentsResponse()
    async with http.post(f"{PATH}{path}", json=body) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


async def test_the_servers_fault_of_an_item_is_told_in_the_callers_words(http: Http, server: FakeServer) -> None:
    server.replies["CreateConversationItems"] = refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "No.", field="items[0].function_call_output.content"
    )
    item = {"type": "function_call_output", "call_id": "call_1", "output": "5"}
    async with http.post(f"{PATH}/conv_1/items", json={"items": [item]}) as response:
        assert (await response.json())["error"]["param"] == "items[0].output"


async def test_an_unknown_conversation_is_not_found(http: Http, server: FakeServer) -> None:
    unknown = refusal(grpc.StatusCode.NOT_FOUND, "CONVERSATION_NOT_FOUND", "There is no such conversation.")
    server.replies |= {"GetConversation": unknown, "ListConversationItems": unknown}
    for path in ("/conv_1", "/conv_1/items"):
        async with http.get(f"{PATH}{path}") as response:
            assert response.status == 404
            assert (await response.json())["error"]["code"] == "conversation_not_found"
