import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from breezeway_shim.sse import KEEP_ALIVE
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc import status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.shim.transcoding.conftest import Foreign
from tests.shim.transcoding.foreign import serve_messaging
from tests.support.patience import PATIENCE

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def status_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    assert answer.content_type == "application/json"
    assert answer.headers["x-request-id"]
    status: dict[str, Any] = await answer.json()
    assert set(status) == {"code", "message", "details"}
    return status


async def test_a_call_is_made_and_answered(foreign: Foreign) -> None:
    async with foreign.http.get("/v1/messages/a%20b", params={"i64": "9007199254740993", "sub.color": "2"}) as answer:
        assert answer.status == 200
        reply = await answer.json()
    assert reply["name"] == "messages/a b"
    assert reply["i64"] == "9007199254740993"
    assert reply["sub"]["color"] == "COLOR_BLUE"
    # What is not set is there too, where it has no presence of its own.
    assert reply["texts"] == []
    assert "maybe" not in reply
    assert foreign.server.requests[0].name == "messages/a b"


async def test_a_response_body_is_a_field(foreign: Foreign) -> None:
    async with foreign.http.put("/v1/messages/7/texts", json=["a", "b"]) as answer:
        assert await answer.json() == ["a", "b"]
    async with foreign.http.put("/v1/messages/7/texts") as answer:
        assert await answer.json() == []
    async with foreign.http.get("/v1/numbers/5/1/true") as answer:
        assert await answer.json() == "5"
    async with foreign.http.patch("/v1/rooms/1/messages/2", json={"userId": "u"}) as answer:
        assert (await answer.json())["name"] == "rooms/1/messages/2"


async def test_a_custom_method_and_any_method(foreign: Foreign) -> None:
    async with foreign.http.request("REPORT", "/v1/messages", params={"name": "x"}) as answer:
        assert (await answer.json())["name"] == "x"
    for method in ("GET", "DELETE", "PUT"):
        async with foreign.http.request(method, "/v1/anything/x") as answer:
            assert (await answer.json())["name"] == "x"


async def test_metadata_and_deadline_cross(foreign: Foreign) -> None:
    headers = {"Authorization": "Bearer k", "traceparent": TRACEPARENT, "Grpc-Timeout": "200S", "Cookie": "no"}
    async with foreign.http.get("/v1/messages/1", headers=headers) as answer:
        assert answer.status == 200
    assert foreign.server.metadata["authorization"] == "Bearer k"
    assert foreign.server.metadata["traceparent"] == TRACEPARENT
    assert foreign.server.metadata["x-request-id"] == answer.headers["x-request-id"]
    assert "cookie" not in foreign.server.metadata
    assert foreign.server.time_remaining is not None
    # gRPC writes a timeout with three digits and rounds it up.
    assert 100 < foreign.server.time_remaining <= 201


@pytest.mark.parametrize("value", ["10", "S", "123456789S", "1.5S", "1h", "-1S", ""])
async def test_a_timeout_that_is_none_is_refused(foreign: Foreign, value: str) -> None:
    async with foreign.http.get("/v1/messages/1", headers={"Grpc-Timeout": value}) as answer:
        assert answer.status == 400
        assert "Grpc-Timeout" in (await status_of(answer))["message"]


async def test_a_deadline_that_passes_is_504(foreign: Foreign) -> None:
    async with foreign.http.get("/v1/messages:wait", headers={"Grpc-Timeout": "50m"}) as answer:
        assert answer.status == 504
        assert (await status_of(answer))["code"] == 4


async def test_a_client_that_leaves_cancels_the_call(foreign: Foreign) -> None:
    asking = asyncio.create_task(foreign.http.get("/v1/messages:wait").__aenter__())
    await foreign.server.waiting.wait()
    asking.cancel()
    await asyncio.wait_for(foreign.server.cancelled.wait(), PATIENCE)


async def test_a_client_that_leaves_a_stream_cancels_the_call(foreign: Foreign) -> None:
    body = {"texts": ["a"], "truth": True}
    async with foreign.http.post("/v1/messages:recite", json=body) as answer:
        assert await answer.content.readuntil(b"\n\n")
        await foreign.server.waiting.wait()
    await asyncio.wait_for(foreign.server.cancelled.wait(), PATIENCE)


@pytest.mark.parametrize(
    "path", ["/", "/v1/nothing", "/v1/messages/", "/v1/messages:unmapped", "/v1/files/x:y/../%00:"]
)
async def test_an_unknown_path_is_404_or_bound(foreign: Foreign, path: str) -> None:
    async with foreign.http.get(path) as answer:
        if answer.status != 200:
            assert answer.status == 404
            assert (await status_of(answer))["code"] == 5


async def test_a_wrong_method_is_405_and_says_which_are_right(foreign: Foreign) -> None:
    async with foreign.http.delete("/v1/messages") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST, REPORT"
        assert (await status_of(answer))["code"] == 12


async def test_a_fault_is_invalid_argument_with_its_path(foreign: Foreign) -> None:
    async with foreign.http.post("/v1/messages", json={"subs": [{"nothing": 1}]}) as answer:
        assert answer.status == 400
        status = await status_of(answer)
    assert status["code"] == 3
    [detail] = status["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert detail["fieldViolations"][0]["field"] == "subs[0].nothing"
    assert foreign.server.requests == []


async def test_a_path_that_is_not_utf8_is_400(foreign: Foreign) -> None:
    # Sent by hand: clients refuse to.
    reader, writer = await asyncio.open_connection("127.0.0.1", foreign.port)
    writer.write(b"GET /v1/messages/%FF HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_is_too_large_is_413(foreign: Foreign) -> None:
    async with foreign.http.post("/v1/messages", data=b"x" * 200_000) as answer:
        assert answer.status == 413
        assert (await status_of(answer))["code"] == 8


@pytest.mark.parametrize(
    ("code", "http_status"),
    [
        (grpc.StatusCode.CANCELLED, 499),
        (grpc.StatusCode.UNKNOWN, 500),
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.FAILED_PRECONDITION, 400),
        (grpc.StatusCode.ABORTED, 409),
        (grpc.StatusCode.OUT_OF_RANGE, 400),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DATA_LOSS, 500),
    ],
)
async def test_a_failure_has_the_http_status_of_its_code(
    foreign: Foreign, code: grpc.StatusCode, http_status: int
) -> None:
    foreign.server.failure = status_pb2.Status(code=code.value[0], message="So it is.")
    async with foreign.http.get("/v1/messages:fail") as answer:
        assert answer.status == http_status
        assert await status_of(answer) == {"code": code.value[0], "message": "So it is.", "details": []}


async def test_details_are_decoded_and_retry_info_is_a_header(foreign: Foreign) -> None:
    foreign.server.failure = foreign.server.rich_failure()
    async with foreign.http.get("/v1/messages:fail") as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "7"
        status = await status_of(answer)
    assert status["details"] == [
        # Known to the service's own pool, to the default pool, and to nobody.
        {"@type": "type.googleapis.com/messaging.v1.Complaint", "about": "weather"},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6.000000001s"},
        {"@type": "type.googleapis.com/of.nobody.Knows", "value": "/w=="},
    ]


async def test_a_failure_without_details_keeps_the_words_of_a_server_and_not_those_of_a_transport(
    foreign: Foreign,
) -> None:
    foreign.server.failure = (grpc.StatusCode.NOT_FOUND, "There is no such message.")
    async with foreign.http.get("/v1/messages:fail") as answer:
        assert (await status_of(answer))["message"] == "There is no such message."
    foreign.server.failure = (grpc.StatusCode.UNKNOWN, "Traceback")
    async with foreign.http.get("/v1/messages:fail") as answer:
        assert answer.status == 500
        assert "Traceback" not in (await status_of(answer))["message"]


async def test_a_stream_is_server_sent_events_with_ids(foreign: Foreign) -> None:
    async with foreign.http.get("/v1/messages:watch") as answer:
        assert answer.content_type == "text/event-stream"
        frames = (await answer.read()).split(b"\n\n")
    assert [frame.split(b"\n")[0] for frame in frames] == [b"id: 2", b"id: 4", b"id: 5", b""]
    assert json.loads(frames[0].split(b"\ndata: ")[1]) == {
        "events": [{"sequence": "1", "text": "1\n"}, {"sequence": "2", "text": "2\n"}]
    }


async def test_last_event_id_resumes_and_is_newer_than_the_url(foreign: Foreign) -> None:
    headers = {"Last-Event-ID": "4"}
    async with foreign.http.get("/v1/messages:watch", params={"afterSequence": 1}, headers=headers) as answer:
        body = await answer.read()
    assert body == b'id: 5\ndata: {"events":[{"sequence":"5","text":"5\\n"}]}\n\n'


@pytest.mark.parametrize("value", ["x", "-1", "²", "99999999999999999999999"])
async def test_a_last_event_id_that_is_no_sequence_is_refused(foreign: Foreign, value: str) -> None:
    async with foreign.http.get("/v1/messages:watch", headers={"Last-Event-ID": value}) as answer:
        assert answer.status == 400


async def test_a_stream_that_cannot_start_in_the_middle_says_so(foreign: Foreign) -> None:
    async with foreign.http.post("/v1/messages:recite", headers={"Last-Event-ID": "1"}) as answer:
        assert answer.status == 400
        assert "Last-Event-ID" in (await status_of(answer))["message"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/jsonl", "application/jsonl"),
        ("text/event-stream;q=0.5, application/jsonl", "application/jsonl"),
        ("application/jsonl;q=0.1, text/event-stream", "text/event-stream"),
        ("application/jsonl;q=x", "text/event-stream"),
        ("*/*", "text/event-stream"),
        ("", "text/event-stream"),
    ],
)
async def test_accept_chooses_the_framing(foreign: Foreign, accept: str, content_type: str) -> None:
    async with foreign.http.get("/v1/messages:watch", headers={"Accept": accept}) as answer:
        assert answer.content_type == content_type
        await answer.read()


async def test_json_lines_are_one_message_a_line(foreign: Foreign) -> None:
    headers = {"Accept": "application/jsonl"}
    async with foreign.http.get("/v1/messages:watch", headers=headers) as answer:
        lines = (await answer.read()).splitlines()
    assert [[event["sequence"] for event in json.loads(line)["events"]] for line in lines] == [
        ["1", "2"],
        ["3", "4"],
        ["5"],
    ]


async def test_a_stream_without_sequences_has_no_ids(foreign: Foreign) -> None:
    async with foreign.http.post("/v1/messages:recite", json={"texts": ["a"]}) as answer:
        assert (await answer.read()).startswith(b'data: {"name":"a"')


async def test_a_quiet_stream_is_kept_alive(messaging: ServiceDescriptor) -> None:
    async with (
        serve_messaging(messaging, keepalive_seconds=0.05) as (_, url),
        aiohttp.ClientSession(url) as http,
        http.post("/v1/messages:recite", json={"truth": True}) as answer,
    ):
        assert await answer.content.readexactly(len(KEEP_ALIVE)) == KEEP_ALIVE


async def test_an_error_before_the_first_message_is_an_answer(foreign: Foreign) -> None:
    async with foreign.http.get("/v1/messages:watch", params={"failAt": 1}) as answer:
        assert answer.status == 400
        assert (await status_of(answer))["message"] == "The tape is torn."


async def test_an_error_after_the_first_message_is_an_event(foreign: Foreign) -> None:
    async with foreign.http.get("/v1/messages:watch", params={"failAt": 3}) as answer:
        assert answer.status == 200
        first, second, rest = (await answer.read()).split(b"\n\n")
    assert first.startswith(b"id: 2\n")
    event, _, data = second.partition(b"\ndata: ")
    assert event == b"event: error"
    assert json.loads(data) == {"code": 11, "message": "The tape is torn.", "details": []}
    assert rest == b""


async def test_an_error_after_the_first_message_is_a_line(foreign: Foreign) -> None:
    headers = {"Accept": "application/x-ndjson"}
    async with foreign.http.get("/v1/messages:watch", params={"failAt": 3}, headers=headers) as answer:
        _, last = (await answer.read()).splitlines()
    assert json.loads(last) == {"error": {"code": 11, "message": "The tape is torn.", "details": []}}


async def test_a_reply_that_has_no_json_is_an_error_of_ours(foreign: Foreign) -> None:
    foreign.server.unwritable = True
    async with foreign.http.post("/v1/messages", json={"value": 1}) as answer:
        assert answer.status == 500
        assert (await status_of(answer))["code"] == 13


PATHS = st.text(st.sampled_from("/v1messages:waurd{}%2F0éx*?=&[].~-_+ \\\"'<>"), max_size=40)


# One server serves all examples, as it does all requests.
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cases=st.lists(
        st.tuples(
            st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "REPORT"]),
            st.sampled_from(
                ["/v1/messages", "/v1/messages/1", "/v1/files/", "/v1/anything/", "/v1/messages:search?", "/"]
            ),
            PATHS,
            st.binary(max_size=50) | st.sampled_from([b"{}", b'{"name":"x"}', b'["a"]', b"null"]),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_no_request_is_a_fault_of_the_server(
    messaging: ServiceDescriptor, cases: list[tuple[str, str, str, bytes]]
) -> None:
    async def send_all() -> None:
        async with serve_messaging(messaging) as (_, url), aiohttp.ClientSession() as http:
            for method, start, path, body in cases:
                async with http.request(method, url + start + path, data=body) as answer:
                    assert answer.status < 500, await answer.text()
                    if answer.status != 200:
                        await status_of(answer)

    asyncio.run(send_all())
