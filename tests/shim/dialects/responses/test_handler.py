import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import openai
import pytest
from breezeway.v1 import event_pb2, item_pb2, run_pb2, run_service_pb2, store_service_pb2, stream_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse
from breezeway_shim.dialects.responses.projection import ResponseProjection
from breezeway_shim.fold import RunFold
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.dialects import frames
from tests.support.fake_server import FakeServer, refusal
from tests.support.logs import RUN_ID, LogWriter, read_log
from tests.support.openai_schemas import check_response, check_schema, sse_events
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim

PATH = "/v1/responses"
RESPONSE_ID = "resp_019a3e5c7d0070008000000000000001"
ONE = f"{PATH}/{RESPONSE_ID}"
BODY: dict[str, Any] = {"model": "assistant", "input": "hi"}
Http = aiohttp.ClientSession


@pytest.fixture
async def client(shim_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{shim_url}/v1", api_key="key", max_retries=0) as made:
        yield made


def stored(log: list[event_pb2.RunEvent]) -> run_pb2.Run:
    fold = RunFold()
    for event in log:
        fold.add(event)
    return fold.run


def logged(*, background: bool = False) -> list[event_pb2.RunEvent]:
    """A log that is in the store."""
    log = LogWriter()
    log.queued(run_pb2.RunSpec(agent="assistant", durability=run_pb2.DURABILITY_LOGGED, background=background))
    log.started()
    log.text(log.message(), "Hello.")
    return log.completed(run_pb2.Usage(input_tokens=2, output_tokens=1, model_calls=1))


def transcript(log: list[event_pb2.RunEvent]) -> bytes:
    return b"".join(frames(ResponseProjection(), log))


async def error_of(response: aiohttp.ClientResponse) -> tuple[int, str | None, str | None]:
    error = (await response.json())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status, error["code"], error["param"]


async def test_a_whole_answer_is_the_response_that_ends_the_stream(http: Http, server: FakeServer) -> None:
    server.plays("server_tools")
    async with http.post(PATH, json=BODY) as response:
        assert response.status == 200
        assert response.headers["X-Run-Id"].startswith("run_")
        collected = await response.json()
    assert server.calls[-1].request.detail == stream_service_pb2.STREAM_DETAIL_ITEMS
    check_response(collected)
    async with http.post(PATH, json=BODY | {"stream": True}) as response:
        *_, last = sse_events(await response.read())
    assert collected == last["response"]


async def test_a_stream_is_the_projection_of_the_log(http: Http, server: FakeServer) -> None:
    server.plays("server_tools")
    async with http.post(PATH, json=BODY | {"stream": True}) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Run-Id"].startswith("run_")
        assert await response.read() == transcript(read_log("server_tools"))


@pytest.mark.parametrize(
    ("fields", "headers", "policy"),
    [
        ({}, {}, stream_service_pb2.DISCONNECT_POLICY_CONTINUE),
        ({}, {"X-On-Disconnect": "cancel"}, stream_service_pb2.DISCONNECT_POLICY_CANCEL),
        ({"store": False}, {}, stream_service_pb2.DISCONNECT_POLICY_CANCEL),
        ({"store": False}, {"Idempotency-Key": "once"}, stream_service_pb2.DISCONNECT_POLICY_CONTINUE),
        ({"background": True, "stream": True}, {}, stream_service_pb2.DISCONNECT_POLICY_CONTINUE),
    ],
    ids=["stored", "said", "not stored", "not stored and with a key", "background"],
)
async def test_what_leaving_means_follows_from_what_is_kept(
    http: Http,
    server: FakeServer,
    fields: dict[str, Any],
    headers: dict[str, str],
    policy: stream_service_pb2.DisconnectPolicy.ValueType,
) -> None:
    server.plays("text")
    async with http.post(PATH, json=BODY | fields, headers=headers) as response:
        await response.read()
    (call,) = server.calls
    assert call.method == "StreamRun"
    assert call.request.on_disconnect == policy
    assert call.request.request_id == headers.get("Idempotency-Key", "")
    assert call.request.spec.dialect == "responses"


async def test_headers_say_what_to_do_in_a_busy_conversation(http: Http, server: FakeServer) -> None:
    server.plays("text")
    async with http.post(PATH, json=BODY | {"conversation": "one"}, headers={"X-Conversation-Busy": "queue"}):
        assert server.calls[-1].request.spec.busy_policy == run_pb2.BUSY_POLICY_QUEUE
    async with http.post(PATH, json=BODY | {"conversation": "one", "busy_policy": "interrupt"}):
        assert server.calls[-1].request.spec.busy_policy == run_pb2.BUSY_POLICY_INTERRUPT
    server.replies["ListAgents"] = ListAgentsResponse()
    async with http.post(PATH, json=BODY | {"busy_policy": "wait"}) as response:
        assert await error_of(response) == (400, "invalid_value", "busy_policy")


async def test_a_caller_who_leaves_ends_the_call_to_the_server(http: Http, server: FakeServer) -> None:
    server.steps = [read_log("text")[:4], asyncio.Event()]
    async with http.post(PATH, json=BODY | {"stream": True}) as response:
        await response.content.readuntil(b"response.output_text.delta")
    await asyncio.wait_for(server.cancelled.wait(), PATIENCE)


async def test_a_background_response_is_answered_as_it_was_accepted(http: Http, server: FakeServer) -> None:
    spec = run_pb2.RunSpec(agent="assistant", background=True)
    run = run_pb2.Run(id=RUN_ID, state=run_pb2.RUN_STATE_QUEUED, spec=spec, create_time=Timestamp(seconds=1))
    server.replies["CreateRun"] = run_service_pb2.CreateRunResponse(run=run)
    async with http.post(PATH, json=BODY | {"background": True}, headers={"Idempotency-Key": "once"}) as response:
        accepted = await response.json()
    assert (accepted["id"], accepted["status"], accepted["background"]) == (RESPONSE_ID, "queued", True)
    assert server.calls[-1].request.request_id == "once"


async def test_a_run_that_failed_is_an_http_error_in_a_whole_answer(http: Http, server: FakeServer) -> None:
    server.plays("failed_before_first_token")
    async with http.post(PATH, json=BODY) as response:
        assert await error_of(response) == (429, "rate_limit_exceeded", None)
        assert response.headers["Retry-After"] == "7"
        assert response.headers["X-Run-Id"].startswith("run_")


async def test_a_run_that_failed_ends_its_stream_with_response_failed(http: Http, server: FakeServer) -> None:
    server.plays("failed_in_the_middle")
    async with http.post(PATH, json=BODY | {"stream": True}) as response:
        *_, last = sse_events(await response.read())
    assert last["type"] == "response.failed"


async def test_a_run_that_somebody_cancelled_is_answered_with_that_status(http: Http, server: FakeServer) -> None:
    server.plays("cancelled")
    async with http.post(PATH, json=BODY) as response:
        assert response.status == 200
        assert (await response.json())["status"] == "cancelled"


async def test_a_stream_that_cannot_go_on_ends_with_an_error_event(server: FakeServer) -> None:
    server.steps = [read_log("text")[:4], refusal(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "The server stops.")]
    async with (
        serve_shim(server.target, reconnect_seconds=0) as url,
        Http(url) as http,
        http.post(PATH, json=BODY | {"stream": True}) as response,
    ):
        events = sse_events(await response.read())
    last = events[-1]
    assert last == {
        "type": "error",
        "sequence_number": len(events) - 1,
        "code": "server_unavailable",
        "message": "The server stops.",
        "param": None,
    }
    check_schema("ResponseStreamEvent", last)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("reason", "code", "field", "expected"),
    [
        ("AGENT_NOT_FOUND", grpc.StatusCode.NOT_FOUND, "", (404, "model_not_found", "model")),
        (
            "PREVIOUS_RUN_NOT_FOUND",
            grpc.StatusCode.NOT_FOUND,
            "",
            (400, "previous_response_not_found", "previous_response_id"),
        ),
        ("CONVERSATION_LOCKED", grpc.StatusCode.ABORTED, "", (409, "conversation_locked", None)),
        ("INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT, "spec.sampling.top_p", (400, None, "top_p")),
        (
            "INVALID_REQUEST",
            grpc.StatusCode.INVALID_ARGUMENT,
            "input[0].function_call_output.call_id",
            (400, None, "input[0].call_id"),
        ),
    ],
    ids=["model", "previous", "locked", "range", "call id"],
)
async def test_a_refusal_is_an_http_error_also_where_a_stream_was_asked_for(
    http: Http,
    server: FakeServer,
    stream: bool,
    reason: str,
    code: grpc.StatusCode,
    field: str,
    expected: tuple[int, str | None, str | None],
) -> None:
    server.steps = [refusal(code, reason, "No.", field=field)]
    items = [{"role": "user", "content": "hi"}]
    async with http.post(PATH, json=BODY | {"stream": stream, "input": items}) as response:
        assert await error_of(response) == expected


async def test_a_get_answers_with_what_the_stream_ended_with(http: Http, server: FakeServer) -> None:
    log = logged()
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log))
    async with http.get(ONE) as response:
        assert await response.json() == sse_events(transcript(log))[-1]["response"]
    assert server.calls[-1].request.run_id == RESPONSE_ID


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ONE), ("DELETE", ONE), ("POST", f"{ONE}/cancel"), ("GET", f"{ONE}?stream=true")]
)
async def test_a_response_that_is_not_stored_is_not_found(
    http: Http, server: FakeServer, method: str, path: str
) -> None:
    log = read_log("text")
    assert log[0].run_queued.spec.durability == run_pb2.DURABILITY_MEMORY
    server.plays(log)
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log))
    async with http.request(method, path) as response:
        assert await error_of(response) == (404, "not_found", None)


async def test_an_unknown_response_is_not_found(http: Http, server: FakeServer) -> None:
    unknown = refusal(grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND", "There is no such run.")
    server.steps = [unknown]
    server.replies |= {"GetRun": unknown, "ListRunItems": unknown}
    for path in (ONE, f"{ONE}?stream=true", f"{ONE}/input_items"):
        async with http.get(path) as response:
            assert await error_of(response) == (404, "not_found", None)


async def test_a_stream_can_be_read_again_from_any_event_on(http: Http, server: FakeServer) -> None:
    log = logged()
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log))
    server.steps = [log[:3], log[3:]]
    whole = frames(ResponseProjection(), log)
    async with http.get(ONE, params={"stream": "true"}) as response:
        assert await response.read() == b"".join(whole)
        assert response.headers["X-Run-Id"] == RUN_ID
    for number in range(len(whole)):
        async with http.get(ONE, params={"stream": "true", "starting_after": number}) as response:
            assert response.status == 200
            assert await response.read() == b"".join(whole[number + 1 :])


async def test_a_cursor_beyond_the_end_is_refused(http: Http, server: FakeServer) -> None:
    log = logged()
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log))
    server.plays(log)
    number = len(frames(ResponseProjection(), log))
    async with http.get(ONE, params={"stream": "true", "starting_after": number}) as response:
        assert await error_of(response) == (400, "cursor_ahead", "starting_after")


async def test_a_cursor_beyond_what_has_happened_is_refused_at_once(http: Http, server: FakeServer) -> None:
    log = logged()[:3]
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log))
    server.steps = [log, asyncio.Event()]
    number = len(frames(ResponseProjection(), log))
    async with http.get(ONE, params={"stream": "true", "starting_after": number}) as response:
        assert await error_of(response) == (400, "cursor_ahead", "starting_after")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("stream=true&starting_after=x", "starting_after"),
        ("stream=true&starting_after=-2", "starting_after"),
        ("starting_after=1", "starting_after"),
        ("include[]=everything", "include[0]"),
        ("include_obfuscation=true", "include_obfuscation"),
    ],
)
async def test_a_query_that_cannot_be_is_refused_by_name(
    http: Http, server: FakeServer, query: str, param: str
) -> None:
    server.replies["ListAgents"] = ListAgentsResponse()
    async with http.get(f"{ONE}?{query}") as response:
        assert (await error_of(response))[::2] == (400, param)


async def test_a_response_can_be_deleted(client: openai.AsyncOpenAI, http: Http, server: FakeServer) -> None:
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(logged()))
    server.replies["DeleteRun"] = run_service_pb2.DeleteRunResponse()
    async with http.delete(ONE) as response:
        assert await response.json() == {"id": RESPONSE_ID, "object": "response", "deleted": True}
    await client.responses.delete(RESPONSE_ID)
    assert server.calls[-1].request.run_id == RUN_ID


async def test_only_a_background_response_can_be_cancelled(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    log = LogWriter()
    log.queued(run_pb2.RunSpec(agent="assistant", background=True))
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log.events))
    server.replies["CancelRun"] = run_service_pb2.CancelRunResponse(run=stored(log.cancelled(run_pb2.Usage())))
    assert (await client.responses.cancel(RESPONSE_ID)).status == "cancelled"
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(logged()))
    with pytest.raises(openai.BadRequestError):
        await client.responses.cancel(RESPONSE_ID)


async def test_input_items_are_listed_newest_first_by_pages(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    image = item_pb2.ContentPart(image=item_pb2.Image(url="https://example.org/a.png"))
    words = item_pb2.ContentPart(text=item_pb2.Text(text="hi"))
    user = item_pb2.Message(role=item_pb2.ROLE_USER, content=[words, image])
    call = item_pb2.FunctionCall(call_id="call_1", name="add", arguments="{}")
    output = item_pb2.FunctionCallOutput(call_id="call_1", content=[words, words])
    items = [
        item_pb2.Item(id="fco_1", function_call_output=output),
        item_pb2.Item(id="fc_1", function_call=call),
        item_pb2.Item(id="msg_1", message=user),
    ]
    server.replies["ListRunItems"] = store_service_pb2.ListRunItemsResponse(items=items, has_more=True)
    page = await client.responses.input_items.with_raw_response.list(RESPONSE_ID, limit=3, after="x", order="asc")
    listed = page.http_response.json()
    check_schema("ResponseItemList", listed)
    assert [item["id"] for item in listed["data"]] == ["fco_1", "fc_1", "msg_1"]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("fco_1", "msg_1", True)
    assert listed["data"][2] == {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "hi"},
            {"type": "input_image", "image_url": "https://example.org/a.png", "file_id": None, "detail": "auto"},
        ],
    }
    asked = server.calls[-1].request
    assert (asked.page_size, asked.after_item_id, asked.ascending) == (3, "x", True)
    await client.responses.input_items.list(RESPONSE_ID)
    asked = server.calls[-1].request
    assert (asked.page_size, asked.after_item_id, asked.ascending) == (20, "", False)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up"])
async def test_a_page_that_cannot_be_is_refused_by_name(http: Http, server: FakeServer, query: str) -> None:
    server.replies["ListAgents"] = ListAgentsResponse()
    async with http.get(f"{ONE}/input_items?{query}") as response:
        assert (await error_of(response))[::2] == (400, query.partition("=")[0])


async def test_input_tokens_are_counted_without_a_run(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.replies["CountTokens"] = run_service_pb2.CountTokensResponse(input_tokens=12)
    counted = await client.responses.input_tokens.count(model="assistant", input="hi")
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", 12)
    assert [call.method for call in server.calls] == ["CountTokens"]


async def test_the_official_helper_streams(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    server.plays("text")
    async with client.responses.stream(model="assistant", input="hi") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == final.output_text != ""


async def test_the_official_helper_goes_on_where_it_left_off(client: openai.AsyncOpenAI, server: FakeServer) -> None:
    log = logged()
    server.replies["GetRun"] = run_service_pb2.GetRunResponse(run=stored(log))
    server.plays(log)
    stream = await client.responses.retrieve(RESPONSE_ID, stream=True, starting_after=2)
    assert [event.sequence_number async for event in stream] == [3, 4, 5, 6, 7, 8]
