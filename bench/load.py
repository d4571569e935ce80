"""A cheap load client that verifies every byte of text it is sent."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from bench.model import text

_STRING = rb'"((?:[^"\\]|\\.)*)"'
_CHAT_TEXT = re.compile(rb'"content":' + _STRING)
_RESPONSE_DELTA = re.compile(rb'"delta":' + _STRING)
_RESPONSE_TEXT = re.compile(rb'"text":' + _STRING)


@dataclass
class Outcome:
    """What one request came to; times are in seconds from its start."""

    first: float = 0.0
    last: float = 0.0
    arrivals: list[float] = field(default_factory=list)


class _Client(asyncio.Protocol):
    def __init__(self, done: "asyncio.Future[None]", timed: bool) -> None:
        self.body = bytearray()
        self.outcome = Outcome()
        self._done = done
        self._timed = timed
        self._started = time.perf_counter()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._timed and b"tok" in data:
            now = time.perf_counter() - self._started
            self.outcome.first = self.outcome.first or now
            self.outcome.arrivals.append(now)
        self.body += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.outcome.last = time.perf_counter() - self._started
        if not self._done.done():
            self._done.set_result(None)


async def request(port: int, path: str, body: bytes, *, tokens: int, timed: bool = False) -> Outcome:
    """Post once on a connection of its own, read to its end, and check that the answer is the model's text."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    transport, client = await loop.create_connection(lambda: _Client(done, timed), "127.0.0.1", port)
    transport.write(
        b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)
    )
    try:
        await done
    finally:
        transport.close()
    _verify(bytes(client.body), path, tokens)
    return client.outcome


def _verify(raw: bytes, path: str, tokens: int) -> None:
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(raw[:600].decode(errors="replace"))
    if b"chunked" in head.lower():
        body = _dechunk(body)
    if path.endswith("/responses"):
        pattern = _RESPONSE_DELTA if b"event-stream" in head else _RESPONSE_TEXT
    else:
        pattern = _CHAT_TEXT
    got = "".join(match.decode() for match in pattern.findall(body))
    if got != text(tokens):
        raise AssertionError(
            f"the text is not the model's: {got[:200]!r} … {len(got)} of {len(text(tokens))} characters"
        )


def _dechunk(body: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        size = int(body[at:line], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[line + 2 : line + 2 + size])
        at = line + 4 + size


async def many(count: int, at_once: int, start: Callable[[], Awaitable[Outcome]]) -> list[Outcome]:
    """Make `count` requests, `at_once` at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one() -> Outcome:
        async with gate:
            return await start()

    return await asyncio.gather(*(one() for _ in range(count)))
