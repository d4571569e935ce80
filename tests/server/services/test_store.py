"""StoreService over a real channel."""

import asyncio

import grpc
import pytest
from breezeway.v1 import agent_registry_service_pb2, item_pb2, run_pb2, store_service_pb2
from breezeway_server.agents.steps import TextDelta
from breezeway_server.errors import NotFound

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.agents import said
from tests.support.server import ScriptedAgent, Stack, texts

NOT_FOUND, INVALID = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
Create = store_service_pb2.CreateConversationRequest
Add = store_service_pb2.CreateConversationItemsRequest
Items = store_service_pb2.ListConversationItemsRequest
RunItems = store_service_pb2.ListRunItemsRequest
OUTPUT = store_service_pb2.RUN_ITEM_KIND_OUTPUT


async def create(client: Client, name: str = "", *words: str, **metadata: str) -> str:
    made = await client.store.CreateConversation(
        Create(conversation_id=name, metadata=metadata, items=[said(word) for word in words])
    )
    return made.conversation.id


async def listed(client: Client, name: str) -> list[str]:
    page = await client.store.ListConversationItems(Items(conversation_id=name, ascending=True, page_size=1000))
    return texts(page.items)


async def test_a_conversation_is_created_read_changed_and_deleted(client: Client) -> None:
    name = await create(client, topic="a")
    assert name.startswith("conv_")
    found = (
        await client.store.GetConversation(store_service_pb2.GetConversationRequest(conversation_id=name))
    ).conversation
    assert dict(found.metadata) == {"topic": "a"}
    assert found.create_time.seconds > 0
    updated = await client.store.UpdateConversation(
        store_service_pb2.UpdateConversationRequest(conversation_id=name, metadata={"topic": "b"})
    )
    found.metadata["topic"] = "b"
    assert updated.conversation == found
    assert (
        await client.store.GetConversation(store_service_pb2.GetConversationRequest(conversation_id=name))
    ).conversation == found
    await client.store.DeleteConversation(store_service_pb2.DeleteConversationRequest(conversation_id=name))
    refusal = await refused(
        client.store.GetConversation(store_service_pb2.GetConversationRequest(conversation_id=name))
    )
    assert (refusal.code, refusal.reason) == (NOT_FOUND, "CONVERSATION_NOT_FOUND")


async def test_a_name_is_taken_once(client: Client) -> None:
    assert await create(client, "my-talk.1", "one") == "my-talk.1"
    refusal = await refused(client.store.CreateConversation(Create(conversation_id="my-talk.1", items=[said("two")])))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CONVERSATION_EXISTS")
    assert await listed(client, "my-talk.1") == ["one"]


@pytest.mark.parametrize("name", ["conv_mine", "a/b", "../x", "-x", ".x", "x" * 129, "ä", "a b", "a\n"])
async def test_a_name_that_cannot_be(client: Client, name: str) -> None:
    refusal = await refused(client.store.CreateConversation(Create(conversation_id=name)))
    assert (refusal.code, refusal.field) == (INVALID, "conversation_id")


async def test_conversations_are_listed_newest_first_in_pages(client: Client) -> None:
    made = [await create(client) for _ in range(5)]
    got: list[str] = []
    token = ""
    while True:
        page = await client.store.ListConversations(
            store_service_pb2.ListConversationsRequest(page_size=2, page_token=token)
        )
        got += [each.id for each in page.conversations]
        token = page.next_page_token
        if not token:
            break
    assert got == made[::-1]


@pytest.mark.parametrize(
    ("token", "size"),
    [("nonsense", 0), ("-1", 0), ("9" * 40, 0), ("9" * 19, 0), ("9" * 19 + "_x", 0), ("1_", 0), ("", -1), ("", 1001)],
)
async def test_a_page_of_conversations_that_cannot_be(client: Client, token: str, size: int) -> None:
    query = store_service_pb2.ListConversationsRequest(page_token=token, page_size=size)
    refusal = await refused(client.store.ListConversations(query))
    assert (refusal.code, refusal.field) == (INVALID, "page_token" if token else "page_size")


async def test_items_are_added_listed_read_and_taken_out(client: Client) -> None:
    name = await create(client, "", "one")
    added = await client.store.CreateConversationItems(
        store_service_pb2.CreateConversationItemsRequest(conversation_id=name, items=[said("two"), said("three")])
    )
    assert texts(added.items) == ["two", "three"]
    assert all(item.id.startswith("msg_") and not item.run_id for item in added.items)
    assert await listed(client, name) == ["one", "two", "three"]
    newest = await client.store.ListConversationItems(Items(conversation_id=name, page_size=2))
    assert texts(newest.items) == ["three", "two"]
    assert newest.has_more
    rest = await client.store.ListConversationItems(Items(conversation_id=name, after_item_id=newest.items[1].id))
    assert (texts(rest.items), rest.has_more) == (["one"], False)
    two = added.items[0]
    get = store_service_pb2.GetConversationItemRequest(conversation_id=name, item_id=two.id)
    assert (await client.store.GetConversationItem(get)).item == two
    gone = store_service_pb2.DeleteConversationItemRequest(conversation_id=name, item_id=two.id)
    assert (await client.store.DeleteConversationItem(gone)).conversation.id == name
    assert await listed(client, name) == ["one", "three"]
    for call in (client.store.GetConversationItem(get), client.store.DeleteConversationItem(gone)):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (NOT_FOUND, "ITEM_NOT_FOUND")
    refusal = await refused(client.store.ListConversationItems(Items(conversation_id=name, after_item_id=two.id)))
    assert (refusal.code, refusal.reason) == (NOT_FOUND, "ITEM_NOT_FOUND")


async def test_what_is_said_in_a_conversation_that_is_not_there(client: Client) -> None:
    name = "nowhere"
    for call in (
        client.store.GetConversation(store_service_pb2.GetConversationRequest(conversation_id=name)),
        client.store.UpdateConversation(store_service_pb2.UpdateConversationRequest(conversation_id=name)),
        client.store.DeleteConversation(store_service_pb2.DeleteConversationRequest(conversation_id=name)),
        client.store.CreateConversationItems(
            store_service_pb2.CreateConversationItemsRequest(conversation_id=name, items=[said("x")])
        ),
        client.store.ListConversationItems(Items(conversation_id=name)),
        client.store.GetConversationItem(
            store_service_pb2.GetConversationItemRequest(conversation_id=name, item_id="msg_x")
        ),
        client.store.DeleteConversationItem(
            store_service_pb2.DeleteConversationItemRequest(conversation_id=name, item_id="msg_x")
        ),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (NOT_FOUND, "CONVERSATION_NOT_FOUND")


async def test_items_that_cannot_be_added(client: Client) -> None:
    name = await create(client)
    reference = item_pb2.Item(item_reference=item_pb2.ItemReference(id="msg_nowhere"))
    for items, field in (([], "items"), ([said("x")] * 101, "items"), ([said("x"), item_pb2.Item()], "items[1]")):
        request = store_service_pb2.CreateConversationItemsRequest(conversation_id=name, items=items)
        refusal = await refused(client.store.CreateConversationItems(request))
        assert (refusal.code, refusal.field) == (INVALID, field)
    request = store_service_pb2.CreateConversationItemsRequest(conversation_id=name, items=[reference])
    assert (await refused(client.store.CreateConversationItems(request))).reason == "ITEM_NOT_FOUND"
    refusal = await refused(client.store.CreateConversation(Create(items=[said("x")] * 101)))
    assert refusal.field == "items"
    assert await listed(client, name) == []


async def test_a_busy_conversation_takes_no_items(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create("1?", conversation_id="talk")
    agent.script(run_id).say(TextDelta("1!"))
    request = store_service_pb2.CreateConversationItemsRequest(conversation_id="talk", items=[said("by hand")])
    refusal = await refused(client.store.CreateConversationItems(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "CONVERSATION_LOCKED")
    assert run_id in refusal.message
    agent.script(run_id).end()
    await stack.events(run_id)
    await client.store.CreateConversationItems(request)
    assert await listed(client, "talk") == ["1?", "1!", "by hand"]


async def test_a_busy_conversation_is_not_deleted(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create("1?", conversation_id="talk")
    request = store_service_pb2.DeleteConversationRequest(conversation_id="talk")
    refusal = await refused(client.store.DeleteConversation(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "CONVERSATION_LOCKED")
    assert run_id in refusal.message
    agent.script(run_id).end()
    await stack.events(run_id)
    await client.store.DeleteConversation(request)
    assert (await refused(client.store.DeleteConversation(request))).reason == "CONVERSATION_NOT_FOUND"


class Held:
    """Stands in for a method of the store: waits, once it was called, until it is let go."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self._work = getattr(stack.store, method)
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(stack.store, method, self)

    async def __call__(self, *args: object) -> object:
        self.reached.set()
        await self.let_go.wait()
        return await self._work(*args)


@pytest.mark.parametrize("ours", [True, False], ids=["conv_", "named"])
async def test_a_run_that_comes_while_its_conversation_is_deleted_finds_it_gone(
    client: Client, stack: Stack, agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    name = await create(client, "" if ours else "talk", "old")
    delete = Held(stack, monkeypatch, "delete_conversation")
    deleting = asyncio.ensure_future(
        client.store.DeleteConversation(store_service_pb2.DeleteConversationRequest(conversation_id=name))
    )
    await delete.reached.wait()
    coming = asyncio.ensure_future(stack.create("new?", conversation_id=name))
    # What has nothing to do with it goes on meanwhile, and so has the run by then as far as it can.
    await stack.create("elsewhere", conversation_id="other")
    assert not coming.done()
    delete.let_go.set()
    await deleting
    if ours:
        with pytest.raises(NotFound):
            await coming
        return
    agent.script(await coming).end()
    await stack.settled(await coming)
    assert await listed(client, name) == ["new?"]


async def test_a_conversation_that_a_run_has_looked_at_is_not_deleted_before_it(
    client: Client, stack: Stack, agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await create(client, "talk")
    look = Held(stack, monkeypatch, "get_conversation")
    coming = asyncio.ensure_future(stack.create("new?", conversation_id=name))
    await look.reached.wait()
    request = store_service_pb2.DeleteConversationRequest(conversation_id=name)
    deleting = asyncio.ensure_future(refused(client.store.DeleteConversation(request)))
    await client.agents.ListAgents(agent_registry_service_pb2.ListAgentsRequest())
    look.let_go.set()
    run_id = await coming
    refusal = await deleting
    assert (refusal.reason, run_id in refusal.message) == ("CONVERSATION_LOCKED", True)
    agent.script(run_id).end()


async def test_the_same_request_is_the_same_conversation(client: Client) -> None:
    request = Create(request_id="key", metadata={"a": "1", "b": "2"}, items=[said("hello")])
    # Those that come at once are one too.
    made = await asyncio.gather(*(client.store.CreateConversation(request) for _ in range(5)))
    assert len({answer.SerializeToString(deterministic=True) for answer in made}) == 1
    name = made[0].conversation.id
    assert await listed(client, name) == ["hello"]
    found = await client.store.ListConversations(store_service_pb2.ListConversationsRequest())
    assert [each.id for each in found.conversations] == [name]
    named = Create(request_id="named", conversation_id="talk")
    assert await client.store.CreateConversation(named) == await client.store.CreateConversation(named)


async def test_the_same_request_adds_the_same_items(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    name = await create(client, "talk")
    request = store_service_pb2.CreateConversationItemsRequest(
        conversation_id=name, items=[said("one"), said("two")], request_id="key"
    )
    added = await asyncio.gather(*(client.store.CreateConversationItems(request) for _ in range(5)))
    assert [answer == added[0] for answer in added] == [True] * 5
    assert await listed(client, name) == ["one", "two"]
    # Nothing is added, so nothing stands in the way.
    run_id = await stack.create("1?", conversation_id=name)
    assert await client.store.CreateConversationItems(request) == added[0]
    agent.script(run_id).end()


async def test_the_same_request_id_with_another_body_is_refused(client: Client) -> None:
    name = await create(client, "talk")
    await client.store.CreateConversation(Create(request_id="key"))
    for call in (
        client.store.CreateConversation(Create(request_id="key", metadata={"a": "b"})),
        client.store.CreateConversationItems(Add(request_id="key", conversation_id=name, items=[said("x")])),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    refusal = await refused(client.store.CreateConversation(Create(request_id="x" * 256)))
    assert (refusal.code, refusal.field) == (INVALID, "request_id")
    assert await listed(client, name) == []


async def test_items_of_a_run_are_listed(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    first = await stack.create("1?")
    agent.script(first).say(TextDelta("1!"))
    agent.script(first).end()
    await stack.settled(first)
    second = await stack.create("2?", previous_run_id=first)
    agent.script(second).say(TextDelta("2!"))
    agent.script(second).end()
    await stack.settled(second)
    page = await client.store.ListRunItems(RunItems(run_id=f"resp_{second[4:]}", ascending=True))
    assert texts(page.items) == ["1?", "1!", "2?"]
    newest = await client.store.ListRunItems(RunItems(run_id=second, page_size=1))
    assert (texts(newest.items), newest.has_more) == (["2?"], True)
    output = await client.store.ListRunItems(RunItems(run_id=second, kind=OUTPUT))
    assert (texts(output.items), output.has_more) == (["2!"], False)
    refusal = await refused(client.store.ListRunItems(RunItems(run_id=second, after_item_id=output.items[0].id)))
    assert (refusal.code, refusal.reason) == (NOT_FOUND, "ITEM_NOT_FOUND")
    refusal = await refused(client.store.ListRunItems(RunItems(run_id=second, page_size=1001)))
    assert (refusal.code, refusal.field) == (INVALID, "page_size")


async def test_a_run_that_is_not_stored_has_no_items(client: Client, stack: Stack) -> None:
    memory = await stack.create(durability=run_pb2.DURABILITY_MEMORY)
    for run_id in (memory, "run_" + "0" * 32, "nonsense"):
        refusal = await refused(client.store.ListRunItems(RunItems(run_id=run_id)))
        assert (refusal.code, refusal.reason) == (NOT_FOUND, "RUN_NOT_FOUND")
