"""The limits of the HTTP port's connections, as callers meet them that keep to nothing."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from breezeway.v1 import event_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse

from tests.shim.wire import Wire, connected, head
from tests.support.clock import HeldClock
from tests.support.fake_server import FakeServer
from tests.support.logs import read_log
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim

CHAT = "/v1/chat/completions"
LIMIT = 100_000
LONG = 60.0
"""Seconds: longer than the head of a request may take."""
POSTS = [CHAT, "/v1/responses", "/v1/conversations", "/v1/runs", "/api/runs", "/api/runs:stream", "/api/profiles"]


@asynccontextmanager
async def limited(server: FakeServer, **settings: Any) -> AsyncIterator[str]:
    async with serve_shim(server.target, max_body_bytes=LIMIT, **settings) as url:
        yield url


async def closed(wire: Wire) -> bytes:
    """What still comes until the other side closes, which it does a while after its answer, so that that is read."""
    with HeldClock.held() as clock:
        rest = asyncio.create_task(wire.closed())
        await clock.move_until(rest, 1)
        return await rest


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_that_says_it_is_too_large_is_refused_unread(shim_url: str, path: str) -> None:
    async with connected(shim_url) as wire:
        await wire.send(head(path, "Content-Length: 100001"))
        answer = await wire.answer()
    assert answer.status == 413
    assert answer.code in {"body_too_large", "8", "3"}
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("path", POSTS)
async def test_a_chunked_body_is_read_to_the_limit_and_no_further(shim_url: str, path: str) -> None:
    async with connected(shim_url) as wire:
        # The chunk never ends, and the answer comes all the same.
        await wire.send(head(path, "Transfer-Encoding: chunked") + b"fffffff\r\n" + b"x" * (LIMIT + 1))
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await closed(wire) == b""


async def test_a_small_body_that_unfolds_is_refused(shim_url: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    async with connected(shim_url) as wire:
        await wire.send(head(CHAT, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}") + bomb)
        answer = await wire.answer()
    assert (answer.status, answer.code) == (413, "body_too_large")


async def test_a_body_that_is_not_encoded_as_it_says_is_a_fault_of_its_sender(shim_url: str) -> None:
    async with connected(shim_url) as wire:
        await wire.send(head(CHAT, "Content-Encoding: gzip", "Content-Length: 5") + b"plain")
        answer = await wire.answer()
    assert (answer.status, answer.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("expectation", "length", "status"),
    [("100-continue", LIMIT + 1, 413), ("a miracle", 2, 417)],
    ids=["a body that is too large", "something unheard of"],
)
async def test_who_asks_before_sending_is_told_no(shim_url: str, expectation: str, length: int, status: int) -> None:
    async with connected(shim_url) as wire:
        await wire.send(head(CHAT, f"Expect: {expectation}", f"Content-Length: {length}"))
        answer = await wire.answer()
        assert answer.status == status
        assert answer.code
        assert await closed(wire) == b""


async def test_who_asks_before_sending_is_told_to_go_on(shim_url: str) -> None:
    async with connected(shim_url) as wire:
        await wire.send(head(CHAT, "Expect: 100-continue", "Content-Length: 2"))
        assert (await wire.answer()).status == 100
        await wire.send(b"{}")
        assert (await wire.answer()).status == 400


async def test_headers_that_drip_are_not_waited_for(server: FakeServer) -> None:
    async with limited(server, http_header_seconds=0.2) as url, connected(url) as wire, connected(url) as other:
        await wire.send(b"GET /health HTTP/1.1\r\nX: ")
        dripping = asyncio.create_task(_drip(wire, other))
        try:
            answer = await wire.answer()
            assert (answer.status, answer.code) == (408, "request_timeout")
            await wire.closed()
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


async def _drip(wire: Wire, other: Wire) -> None:
    """A byte of a header for each request that somebody else makes meanwhile."""
    while True:
        await wire.send(b"y")
        await other.send(head("/", method="GET"))
        await other.answer()


async def test_headers_that_drip_after_a_whole_request_are_not_waited_for_either(server: FakeServer) -> None:
    with HeldClock.held() as clock:
        async with limited(server, http_idle_seconds=1000 * LONG) as url, connected(url) as wire:
            await wire.send(head("/", method="GET"))
            assert (await wire.answer()).status == 200
            await wire.send(b"GET ")
            answer = asyncio.create_task(wire.answer())
            await clock.move_until(answer, LONG)
            assert (await answer).status == 408
            await wire.closed()


async def test_who_says_nothing_is_shown_out(server: FakeServer) -> None:
    async with limited(server, http_header_seconds=0.2) as url, connected(url) as wire:
        assert (await wire.answer()).status == 408
        await wire.closed()


async def test_who_has_been_served_may_stay_a_while(server: FakeServer) -> None:
    with HeldClock.held() as clock:
        async with limited(server, http_header_seconds=1, http_idle_seconds=LONG) as url, connected(url) as wire:
            await wire.send(head("/", method="GET"))
            assert (await wire.answer()).status == 200
            closed = asyncio.create_task(wire.closed())
            await clock.move_until(closed, 1)
            # Nothing is owed, so nothing is said when it is over.
            assert await closed == b""


@pytest.mark.parametrize("path", [CHAT, "/api/runs"])
async def test_a_body_that_drips_is_not_waited_for(server: FakeServer, path: str) -> None:
    async with limited(server, http_body_seconds=0.2) as url, connected(url) as wire:
        await wire.send(head(path, "Content-Length: 1000") + b"{")
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        await closed(wire)


async def test_one_connection_too_many_is_told_so(server: FakeServer) -> None:
    with HeldClock.held() as clock:
        async with limited(server, http_max_connections=2) as url, connected(url) as first, connected(url) as second:
            for wire in (first, second):
                await wire.send(head("/", method="GET"))
                assert (await wire.answer()).status == 200
            async with connected(url) as third:
                await third.send(head("/", method="GET"))
                answer = await third.answer()
                assert (answer.status, answer.code) == (503, "too_many_connections")
                assert answer.headers["retry-after"] == "1"
                assert await third.closed() == b""
            async with connected(url) as silent:
                closed = asyncio.create_task(silent.closed())
                await clock.move_until(closed, 1)
                assert await closed == b""
            await first.send(head("/", method="GET"))
            assert (await first.answer()).status == 200


async def test_a_place_that_is_left_is_free(server: FakeServer) -> None:
    async with limited(server, http_max_connections=1) as url:
        for _ in range(3):
            async with connected(url) as wire:
                await wire.send(head("/", "Connection: close", method="GET"))
                assert (await wire.answer()).status == 200
                await wire.closed()


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 10_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 1000 + b"\r\n", 400, "malformed_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "malformed_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "malformed_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed_request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    ],
    ids=["line", "header", "headers", "tls", "hosts", "colon", "negative", "both lengths", "two lengths", "h2"],
)
async def test_what_is_no_http_is_answered_in_openais_shape(
    shim_url: str, capfd: pytest.CaptureFixture[str], request_bytes: bytes, status: int, code: str
) -> None:
    async with connected(shim_url) as wire:
        await wire.send(request_bytes)
        answer = await wire.answer()
        assert (answer.status, answer.code) == (status, code)
        await wire.closed()
    # Whoever sends such things does not get to write our log, either.
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", ["x-request-id", "X-Conversation-Id", "Origin", "Access-Control-Request-Headers"])
@pytest.mark.parametrize("value", [b"\xff", b"a\x00b", b"a\rX-Evil: 1", b"a\x0bb", b"\xe2\x80\xa8", b"a" * 200])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_no_header_comes_back_as_more_than_it_was(
    server: FakeServer, name: str, value: bytes, method: str
) -> None:
    server.replies["ListAgents"] = ListAgentsResponse()
    async with limited(server, cors_origins="*") as url, connected(url) as wire:
        given = b"%s: %s\r\n" % (name.encode(), value)
        preflight = b"Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
        await wire.send(b"%s /v1/models HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n" % (method.encode(), preflight, given))
        answer = await wire.answer()
    assert answer.status < 500
    assert "x-evil" not in answer.headers
    assert value.decode("latin-1") not in answer.headers.values() or value.isalpha()


async def test_a_host_that_is_no_text_is_no_fault_of_ours(shim_url: str) -> None:
    async with connected(shim_url) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nHost: \xff<b>\r\nAccept: text/html\r\n\r\n")
        answer = await wire.answer()
    assert answer.status < 500
    assert b"<b>" not in answer.body


async def test_a_query_whose_names_are_no_text_is_its_senders_fault(shim_url: str) -> None:
    async with connected(shim_url) as wire:
        await wire.send(b"GET /api/runs?\x80=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await wire.answer()).status == 400


async def test_a_reader_that_takes_nothing_is_cut_off_and_its_run_goes_on(server: FakeServer) -> None:
    log = read_log("text")
    delta = next(event for event in log if event.WhichOneof("kind") == "text_delta")
    flood: list[event_pb2.RunEvent] = []
    for number in range(400):
        more = event_pb2.RunEvent()
        more.CopyFrom(delta)
        more.sequence = delta.sequence + number
        more.text_delta.text = "x" * 50_000
        flood.append(more)
    reads_no_more = asyncio.Event()
    first, *rest = flood
    server.steps = [[*log[: log.index(delta)], first], reads_no_more, *[[event] for event in rest], asyncio.Event()]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, "store": True}
    encoded = json.dumps(body).encode()
    async with limited(server, http_write_seconds=0.5) as url, connected(url, limit=1024) as wire:
        await wire.send(head(CHAT, f"Content-Length: {len(encoded)}") + encoded)
        await wire.reader.readuntil(b"\r\n\r\n")
        # Nothing is read from here on; the call ends all the same, as that of one who left.
        reads_no_more.set()
        async with asyncio.timeout(PATIENCE):
            await server.cancelled.wait()
    assert {call.method for call in server.calls}.isdisjoint({"CancelRun"})
