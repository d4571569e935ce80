"""A client that stops reading: its connection ends, its run does not, and what it missed can be had."""

import asyncio
import json
import os
import re
import select
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.sdk import user
from tests.shim.wire import head
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim
from tests.support.system import System

PIECES = 640
PIECE = 16 * 1024
WRITE_SECONDS = 0.5
CHAT = "/v1/chat/completions"

# More than the sockets of both sides hold.
_CODE = f"""
import asyncio
import pathlib


async def flood(context):
    for number in range({PIECES}):
        yield f"{{number:08}}".ljust({PIECE}, "x")
        if number == 0:
            # A pipe, which can be opened when the client has come this far.
            await asyncio.to_thread((pathlib.Path(__file__).parent / "go").read_bytes)
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    os.mkfifo(tmp_path / "go")
    (tmp_path / "flooding.py").write_text(_CODE, encoding="utf-8")
    config = '[agents.flood]\nkind = "python"\npath = "flooding:flood"\n'
    environ = {
        "BREEZEWAY_HTTP_WRITE_SECONDS": str(WRITE_SECONDS),
        "BREEZEWAY_MAX_OUTPUT_BYTES": str(2 * PIECES * PIECE),
    }
    with System.serving(tmp_path, environ=environ, config=config) as system:
        yield system


def _frames(raw: bytes) -> Sequence[tuple[int, Any]]:
    """The whole frames that there are: the number of each, and its data."""
    found = re.findall(rb"id: (\d+)\ndata: (.*)\n\n", raw)
    return [(int(number), None if data == b"[DONE]" else json.loads(data)) for number, data in found]


def _stall(port: int, go: Path) -> bytes:
    """Ask for a stream, take the beginning of it, and then nothing, until the other side ends the connection."""
    body = json.dumps({"model": "flood", "messages": user("hi"), "stream": True, "store": True}).encode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        client.connect(("127.0.0.1", port))
        client.sendall(head(CHAT, f"Content-Length: {len(body)}") + body)
        taken = b""
        while not _text(_frames(taken)):
            more = client.recv(4096)
            assert more, taken
            taken += more
        go.write_bytes(b"")
        # Whether there is something to read is not asked for: only the end is told.
        end = select.poll()
        end.register(client, 0)
        assert end.poll(PATIENCE * 1000), "the connection still stands"
    return taken


def _text(frames: Sequence[tuple[int, Any]]) -> str:
    choices = (choice for _, chunk in frames if chunk for choice in chunk["choices"])
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_a_stalled_reader_is_cut_off_and_resumes_from_its_cursor_with_nothing_missing(own: System) -> None:
    taken = _frames(await asyncio.to_thread(_stall, own.http_port, own.directory / "go"))
    last, chunk = taken[-1]
    timeout = aiohttp.ClientTimeout(PATIENCE)
    # Another shim: at its own, one who is only held up by a busy machine would be taken for one who stalls.
    async with serve_shim(own.grpc_target) as url, aiohttp.ClientSession(url, timeout=timeout) as http:
        path = f"{CHAT}/{chunk['id']}"
        async with http.get(path, params={"stream": "true"}, headers={"Last-Event-ID": str(last)}) as response:
            assert response.status == 200
            rest = _frames(await response.read())
        async with http.get(path, params={"stream": "true"}) as response:
            undisturbed = _frames(await response.read())
        async with http.get(path) as response:
            whole = await response.json()
    assert [*taken, *rest] == undisturbed
    assert rest[-1][1] is None, "[DONE]"
    said = _text(taken) + _text(rest)
    assert said == "".join(f"{number:08}".ljust(PIECE, "x") for number in range(PIECES))
    assert whole["choices"][0]["message"]["content"] == said
    assert whole["choices"][0]["finish_reason"] == "stop"
