"""Many large bodies at once, from strangers: how much memory they get, and who is served beside them."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.hostile.attack import resident_bytes
from tests.shim.wire import Wire, connected, head
from tests.support.system import System

MEBIBYTE = 1024 * 1024
BODY = 24 * MEBIBYTE
BUDGET = 64 * MEBIBYTE
UPLOADS = 12
# Two of these bodies fit beside each other, and a third does not.
STAY = 2
# What each connection may have received that nobody has looked at, and room to breathe.
BESIDES = UPLOADS * MEBIBYTE + 24 * MEBIBYTE
CHAT = "/v1/chat/completions"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    environ = {
        "BREEZEWAY_HTTP_MAX_BODIES_BYTES": str(BUDGET),
        "BREEZEWAY_MAX_BODY_BYTES": str(BODY + 1000),
        # However busy the machine is, none of them is given up for being slow.
        "BREEZEWAY_HTTP_BODY_SECONDS": "600",
    }
    with System.serving(tmp_path, environ=environ) as system:
        yield system


def _body(size: int) -> bytes:
    text = json.dumps({"model": "nobody", "messages": [{"role": "user", "content": "@"}]})
    return text.replace("@", "x" * (size - len(text) + 1)).encode()


async def _upload(wire: Wire, body: bytes) -> None:
    """Send all of the body but its last byte, or what is taken of it."""
    try:
        await wire.send(head(CHAT, f"Content-Length: {len(body)}"))
        for start in range(0, len(body) - 1, MEBIBYTE):
            await wire.send(body[start : min(start + MEBIBYTE, len(body) - 1)])
    except ConnectionError:
        return  # refused, and gone by now


async def _refusals(answers: set[asyncio.Task[tuple[int, str, str]]], count: int) -> None:
    done: set[asyncio.Task[tuple[int, str, str]]] = set()
    while len(done) < count:
        more, answers = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert {task.result() for task in done} == {(503, "too_many_bodies", "1")}


async def _ask(http: aiohttp.ClientSession) -> None:
    question = {"model": "demo", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    async with http.post(CHAT, json=question) as response:
        assert response.status == 200
        assert "4" in (await response.json())["choices"][0]["message"]["content"]


async def _answered(wire: Wire) -> tuple[int, str, str]:
    answer = await wire.answer()
    return answer.status, answer.code, answer.headers.get("retry-after", "")


async def test_many_large_bodies_take_no_more_memory_than_they_may_and_others_do_not_feel_it(own: System) -> None:
    body = _body(BODY)
    shim = own.pid_of("breezeway_shim")
    before = resident_bytes(shim)
    async with AsyncExitStack() as exits:
        http = await exits.enter_async_context(aiohttp.ClientSession(own.url))
        wires = [await exits.enter_async_context(connected(own.url)) for _ in range(UPLOADS)]
        uploads = [asyncio.create_task(_upload(wire, body)) for wire in wires]
        answers = {asyncio.create_task(_answered(wire)): wire for wire in wires}
        refusing = asyncio.create_task(_refusals(set(answers), UPLOADS - STAY))
        most = 0
        while most == 0 or not refusing.done():
            await _ask(http)
            most = max(most, resident_bytes(shim))
        await refusing
        # While the rest still hold what they hold.
        await _ask(http)
        assert most - before < BUDGET + BESIDES
        # Those who were there first are heard to the end.
        await asyncio.gather(*uploads)
        for answer, wire in answers.items():
            if not answer.done():
                await wire.send(b"}")
                assert await answer == (404, "model_not_found", "")
        assert own.pid_of("breezeway_shim") == shim
