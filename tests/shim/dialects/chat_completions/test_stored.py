"""Completions that are stored: reading, listing, changing and deleting them."""

from typing import Any

import aiohttp
import grpc
import msgspec
import openai
import pytest
from breezeway.v1 import item_pb2, run_pb2, run_service_pb2, store_service_pb2
from breezeway_shim.fold import RunFold
from openai.types.chat import ChatCompletion

from tests.support.fake_server import FakeServer, refusal
from tests.support.logs import RUN_ID, read_log

PATH = "/v1/chat/completions"
CHAT_ID = RUN_ID.replace("run_", "chatcmpl-")
BODY: dict[str, Any] = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}], "store": True}


def run_of(log: str, **changes: Any) -> run_pb2.Run:
    """The run of a kept log, as a server that stores it has it."""
    fold = RunFold()
    for event in read_log(log):
        fold.add(event)
    fold.run.spec.MergeFrom(run_pb2.RunSpec(durability=run_pb2.DURABILITY_LOGGED, **changes))
    return fold.run


@pytest.fixture
def stored(server: FakeServer) -> FakeServer:
    """A server that has a run under each id that it is asked for."""
    run = run_of("text", metadata={"topic": "greeting"})
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    server.replies["DeleteRun"] = run_service_pb2.DeleteRunResponse()
    return server


@pytest.mark.parametrize("run_id", [RUN_ID, CHAT_ID, RUN_ID.replace("run_", "resp_")])
async def test_a_stored_completion_is_what_its_post_answered(
    http: aiohttp.ClientSession, stored: FakeServer, run_id: str
) -> None:
    stored.plays("text")
    async with http.post(PATH, json=BODY) as response:
        answered = await response.json()
    async with http.get(f"{PATH}/{run_id}") as response:
        assert response.status == 200
        body = await response.read()
    ChatCompletion.model_validate_json(body, strict=True)
    assert msgspec.json.decode(body) == answered | {"metadata": {"topic": "greeting"}}
    assert stored.calls[-1].request.run_id == run_id


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("GET", "/messages"), ("POST", ""), ("DELETE", "")])
async def test_a_completion_that_was_not_to_be_stored_is_not_there(
    http: aiohttp.ClientSession, server: FakeServer, method: str, suffix: str
) -> None:
    run = run_of("text")
    run.spec.durability = run_pb2.DURABILITY_MEMORY
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    async with http.request(method, f"{PATH}/{CHAT_ID}{suffix}", json={"metadata": {}}) as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"
    assert {call.method for call in server.calls} == {"GetRun"}


async def test_an_unknown_completion_is_not_there(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.replies["GetRun"] = refusal(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", "There is no such run.")
    async with http.get(f"{PATH}/chatcmpl-nothing") as response:
        assert response.status == 404


STATES = [("failed_in_the_middle", 502, "upstream_error"), ("cancelled", 499, "run_cancelled")]


@pytest.mark.parametrize(("log", "status", "code"), STATES)
async def test_a_run_that_ended_badly_is_the_error_that_its_post_was(
    http: aiohttp.ClientSession, server: FakeServer, log: str, status: int, code: str
) -> None:
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run_of(log))
    async with http.get(f"{PATH}/{CHAT_ID}") as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


async def test_a_completion_that_is_not_over_says_so(http: aiohttp.ClientSession, server: FakeServer) -> None:
    run = run_of("text")
    run.state = run_pb2.RUN_STATE_IN_PROGRESS
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=run)
    async with http.get(f"{PATH}/{CHAT_ID}") as response:
        assert response.status == 409
        assert (await response.json())["error"]["code"] == "run_not_over"


async def test_metadata_is_replaced_and_the_completion_answered(
    http: aiohttp.ClientSession, stored: FakeServer
) -> None:
    changed = run_of("text", metadata={"a": "b"})
    stored.replies["UpdateRun"] = run_service_pb2.UpdateRunResponse(run=changed)
    async with http.post(f"{PATH}/{CHAT_ID}", json={"metadata": {"a": "b"}}) as response:
        assert (await response.json())["metadata"] == {"a": "b"}
    assert dict(stored.calls[-1].request.metadata) == {"a": "b"}


@pytest.mark.parametrize("body", [{}, {"metadata": {"a": 1}}, []])
async def test_an_update_without_metadata_is_refused(
    http: aiohttp.ClientSession, stored: FakeServer, body: Any
) -> None:
    async with http.post(f"{PATH}/{CHAT_ID}", json=body) as response:
        assert response.status == 400


async def test_a_deleted_completion_is_named(http: aiohttp.ClientSession, stored: FakeServer) -> None:
    async with http.delete(f"{PATH}/{RUN_ID}") as response:
        assert await response.json() == {"object": "chat.completion.deleted", "id": CHAT_ID, "deleted": True}
    assert stored.calls[-1].method == "DeleteRun"


async def test_a_list_is_of_completions_that_ended_well_oldest_first(
    http: aiohttp.ClientSession, server: FakeServer
) -> None:
    runs = [run_of("text"), run_of("length")]
    server.replies["ListRuns"] = run_service_pb2.ListRunsResponse(runs=runs, next_page_token="more")
    query = f"limit=2&after={CHAT_ID}&model=assistant&metadata[topic]=a%20b&metadata[x]=y"
    async with http.get(f"{PATH}?{query}") as response:
        page = await response.json()
    assert [completion["object"] for completion in page["data"]] == ["chat.completion"] * 2
    assert (page["object"], page["has_more"]) == ("list", True)
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][1]["id"])
    assert server.calls[-1].request == run_service_pb2.ListRunsRequest(
        page_size=2,
        after_run_id=CHAT_ID,
        ascending=True,
        agent="assistant",
        dialect="chat_completions",
        states=[run_pb2.RUN_STATE_COMPLETED, run_pb2.RUN_STATE_INCOMPLETE],
        metadata={"topic": "a b", "x": "y"},
    )


async def test_the_official_sdk_lists_and_filters(shim_url: str, server: FakeServer) -> None:
    server.replies["ListRuns"] = run_service_pb2.ListRunsResponse(runs=[run_of("text")])
    async with openai.AsyncOpenAI(base_url=f"{shim_url}/v1", api_key="k") as sdk:
        page = await sdk.chat.completions.list(metadata={"topic": "greeting"}, order="desc", limit=1)
    assert [completion.id for completion in page.data] == [CHAT_ID]
    assert dict(server.calls[-1].request.metadata) == {"topic": "greeting"}
    assert not server.calls[-1].request.ascending


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up"])
async def test_a_bad_page_is_refused_by_name(http: aiohttp.ClientSession, query: str) -> None:
    for path in (PATH, f"{PATH}/{CHAT_ID}/messages"):
        async with http.get(f"{path}?{query}") as response:
            assert response.status == 400
            assert (await response.json())["error"]["param"] == query.partition("=")[0]


def text(words: str) -> list[item_pb2.ContentPart]:
    return [item_pb2.ContentPart(text=item_pb2.Text(text=words))]


def said(role: item_pb2.Role.ValueType, content: list[item_pb2.ContentPart], name: str = "") -> item_pb2.Item:
    return item_pb2.Item(message=item_pb2.Message(role=role, content=content, name=name))


def called(call_id: str) -> item_pb2.Item:
    return item_pb2.Item(function_call=item_pb2.FunctionCall(call_id=call_id, name="add", arguments="{}"))


IMAGE = item_pb2.ContentPart(image=item_pb2.Image(url="https://x/y.png", detail="low"))
ITEMS = [
    said(item_pb2.ROLE_SYSTEM, text("s")),
    said(item_pb2.ROLE_USER, [*text("look: "), IMAGE], "ann"),
    item_pb2.Item(reasoning=item_pb2.Reasoning(content=["hm"])),
    said(item_pb2.ROLE_ASSISTANT, text("a")),
    called("call_1"),
    called("call_2"),
    item_pb2.Item(function_call_output=item_pb2.FunctionCallOutput(call_id="call_1", content=text("3"))),
    called("call_3"),
    said(item_pb2.ROLE_ASSISTANT, text("b")),
    said(item_pb2.ROLE_ASSISTANT, [item_pb2.ContentPart(refusal=item_pb2.Refusal(text="no"))]),
]
for _number, _item in enumerate(ITEMS):
    _item.id = f"item_{_number}"


def call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "add", "arguments": "{}"}}


PLAIN: dict[str, Any] = {"refusal": None, "content_parts": None}
MESSAGES = [
    PLAIN | {"id": "item_0", "role": "system", "content": "s", "name": None},
    {
        "id": "item_1",
        "role": "user",
        "content": "look: ",
        "refusal": None,
        "name": "ann",
        "content_parts": [
            {"type": "text", "text": "look: "},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        ],
    },
    PLAIN
    | {
        "id": "item_2",
        "role": "assistant",
        "content": "a",
        "reasoning_content": "hm",
        "tool_calls": [call("call_1"), call("call_2")],
    },
    PLAIN | {"id": "item_6", "role": "tool", "content": "3", "tool_call_id": "call_1"},
    PLAIN | {"id": "item_7", "role": "assistant", "content": None, "tool_calls": [call("call_3")]},
    PLAIN | {"id": "item_8", "role": "assistant", "content": "b"},
    PLAIN | {"id": "item_9", "role": "assistant", "content": None, "refusal": "no"},
]


@pytest.fixture
def conversation(stored: FakeServer) -> FakeServer:
    def page(request: store_service_pb2.ListRunItemsRequest) -> store_service_pb2.ListRunItemsResponse:
        assert request.kind == store_service_pb2.RUN_ITEM_KIND_INPUT
        assert request.ascending
        start = [item.id for item in ITEMS].index(request.after_item_id) + 1 if request.after_item_id else 0
        # A server may give less than was asked for.
        return store_service_pb2.ListRunItemsResponse(items=ITEMS[start : start + 3], has_more=start + 3 < len(ITEMS))

    stored.replies["ListRunItems"] = page
    return stored


async def test_what_a_completion_read_is_listed_as_the_messages_that_it_was(
    http: aiohttp.ClientSession, conversation: FakeServer
) -> None:
    async with http.get(f"{PATH}/{CHAT_ID}/messages") as response:
        assert await response.json() == {
            "object": "list",
            "data": MESSAGES,
            "first_id": "item_0",
            "last_id": "item_9",
            "has_more": False,
        }


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_of_messages_are_the_whole_list(
    http: aiohttp.ClientSession, conversation: FakeServer, order: str
) -> None:
    listed: list[dict[str, Any]] = []
    has_more = True
    while has_more:
        after = f"&after={listed[-1]['id']}" if listed else ""
        async with http.get(f"{PATH}/{CHAT_ID}/messages?limit=2&order={order}{after}") as response:
            page = await response.json()
        listed += page["data"]
        has_more = page["has_more"]
    assert listed == (MESSAGES if order == "asc" else MESSAGES[::-1])


async def test_an_unknown_message_to_go_on_from_is_not_there(
    http: aiohttp.ClientSession, conversation: FakeServer
) -> None:
    async with http.get(f"{PATH}/{CHAT_ID}/messages?after=item_99") as response:
        assert response.status == 404
        assert (await response.json())["error"]["param"] == "after"
