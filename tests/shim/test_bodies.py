"""How much of large bodies is held at once, and who is refused for it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from breezeway.v1.agent_registry_service_pb2 import ListAgentsResponse

from tests.shim.wire import Answer, Wire, connected, head
from tests.support.fake_server import FakeServer
from tests.support.logs import read_log
from tests.support.shim import serve_shim

CHAT = "/v1/chat/completions"
LARGEST = 1024 * 1024
HALF = LARGEST // 2
SMALL = 64 * 1024


@pytest.fixture
async def url(server: FakeServer) -> AsyncIterator[str]:
    """A shim that holds as much as its largest body, and not a byte more."""
    server.replies["ListAgents"] = ListAgentsResponse()
    async with serve_shim(server.target, max_body_bytes=LARGEST, http_max_bodies_bytes=0) as url:
        yield url


def _asking(size: int, **fields: object) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "@"}], **fields})
    return body.replace("@", "x" * (size - len(body) + 1)).encode()


async def _held(wire: Wire, size: int) -> None:
    """Send that much of a body of the largest size, and return when the shim holds it."""
    await wire.send(head(CHAT, f"Content-Length: {LARGEST}", "Expect: 100-continue"))
    assert (await wire.answer()).status == 100
    await wire.send(b"x" * size)


async def _full(url: str, length: int) -> None:
    """Return when a body of that length would not be asked for."""
    while await _asked_for(url, length) == 100:
        pass


async def _free(url: str, length: int) -> None:
    """Return when a body of that length would be asked for."""
    while await _asked_for(url, length) == 503:
        pass


async def _asked_for(url: str, length: int) -> int:
    async with connected(url) as wire:
        await wire.send(head(CHAT, f"Content-Length: {length}", "Expect: 100-continue"))
        answer = await wire.answer()
        if answer.status == 503:
            assert (answer.headers["retry-after"], answer.code) == ("1", "too_many_bodies")
        return answer.status


async def _answer(url: str, body: bytes, *headers: str, path: str = CHAT) -> Answer:
    async with connected(url) as wire:
        await wire.send(head(path, *headers, f"Content-Length: {len(body)}") + body)
        return await wire.answer()


@pytest.mark.parametrize(("path", "code"), [(CHAT, "too_many_bodies"), ("/api/runs", "14")])
async def test_a_body_that_does_not_fit_beside_the_others_is_told_to_come_again(url: str, path: str, code: str) -> None:
    async with connected(url) as other:
        await _held(other, HALF)
        await _full(url, HALF + 1)
        refused = await _answer(url, b"x" * (HALF + 1), path=path)
    assert (refused.status, refused.code) == (503, code)
    assert (refused.headers["retry-after"], refused.headers["connection"]) == ("1", "close")


@pytest.mark.parametrize("headers", [("Content-Encoding: gzip",), ("Transfer-Encoding: chunked",)], ids=["small", "no"])
async def test_a_body_whose_size_nobody_knows_is_counted_as_it_comes(url: str, headers: tuple[str]) -> None:
    body = b" " * (HALF + 1)
    async with connected(url) as other, connected(url) as wire:
        await _held(other, HALF)
        await _full(url, HALF + 1)
        if "gzip" in headers[0]:
            sent = gzip.compress(body)
            await wire.send(head(CHAT, *headers, f"Content-Length: {len(sent)}") + sent)
        else:
            await wire.send(head(CHAT, *headers) + b"%x\r\n%b\r\n" % (len(body), body))
        refused = await wire.answer()
    assert (refused.status, refused.code, refused.headers["connection"]) == (503, "too_many_bodies", "close")


async def test_small_bodies_are_read_however_much_is_held(url: str) -> None:
    async with connected(url) as other:
        await _held(other, LARGEST - 1)
        await _full(url, SMALL + 1)
        # What is wrong with it is said of one that was read.
        assert (await _answer(url, b"[" + b" " * (SMALL - 2) + b"]")).status == 400


async def test_naming_a_length_keeps_nobody_out(url: str) -> None:
    async with AsyncExitStack() as exits:
        for _ in range(5):
            await _held(await exits.enter_async_context(connected(url)), 1)
        assert (await _answer(url, b"x" * LARGEST)).status == 400


@pytest.mark.parametrize("leaves", [True, False], ids=["left", "refused"])
async def test_what_a_body_held_is_free_when_it_is_over(url: str, leaves: bool) -> None:
    for _ in range(3):
        async with connected(url) as wire:
            await _held(wire, LARGEST - 1)
            await _full(url, HALF)
            if not leaves:
                await wire.send(b"x")
                assert (await wire.answer()).status == 400
        await _free(url, LARGEST)


@pytest.mark.parametrize("stream", [True, False], ids=["a stream", "a whole answer"])
async def test_a_body_is_held_until_its_answer_begins(server: FakeServer, url: str, stream: bool) -> None:
    log = read_log("text")
    gate = asyncio.Event()
    server.steps = [log[:4], gate, log[4:]]
    body = _asking(LARGEST, stream=stream)
    async with connected(url) as wire:
        await wire.send(head(CHAT, f"Content-Length: {len(body)}") + body)
        if stream:
            assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await _asked_for(url, LARGEST) == 100
            gate.set()
        else:
            await server.called.wait()
            assert await _asked_for(url, SMALL + 1) == 503
            gate.set()
            assert (await wire.answer()).status == 200
            assert await _asked_for(url, LARGEST) == 100
