"""A model server that costs as little as Python allows, so that what it serves is what is measured.

The model's name says what it does: `fast-N` writes N tokens at once, `paced-N-R` N tokens at R a second. Without
`"stream": true` the same text comes as one JSON answer. Run as `python -m bench.model PORT`.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

_MODEL = re.compile(rb'"model"\s*:\s*"([a-z]+)-(\d+)(?:-(\d+))?"')
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
# Tokens that arrive together: what a network between would do to a fast model.
_BURST = 10


def token(index: int) -> str:
    """Return the token at this place; every text is checked against these."""
    return f"tok{index % 1000:03d} "


def text(tokens: int) -> str:
    """Return the whole answer."""
    return "".join(map(token, range(tokens)))


def _chunk(delta: str, finish: str = "null") -> bytes:
    body = (
        '{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":'
        f'[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}'
    )
    return _http_chunk(f"data: {body}\n\n".encode())


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_USAGE = '"usage":{"prompt_tokens":1,"completion_tokens":%d,"total_tokens":%d}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TOKENS = [_chunk(f'{{"content":"{token(index)}"}}') for index in range(1000)]
_FIRST = _chunk('{"role":"assistant","content":""}')


def _end(tokens: int) -> bytes:
    head = '"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench","choices":[]'
    usage = f"{{{head},{_USAGE % (tokens, tokens + 1)}}}"
    return (
        _chunk("{}", '"stop"')
        + _http_chunk(f"data: {usage}\n\n".encode())
        + _http_chunk(b"data: [DONE]\n\n")
        + b"0\r\n\r\n"
    )


def _json(tokens: int) -> bytes:
    body = (
        '{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,"message":'
        f'{{"role":"assistant","content":"{text(tokens)}"}},"finish_reason":"stop"}}],{_USAGE % (tokens, tokens + 1)}}}'
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class ModelProtocol(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            self._last = b"connection: close" in self._buffer[:end].lower()
            body, self._buffer = self._buffer[end + 4 : total], self._buffer[total:]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        match = _MODEL.search(body)
        assert match is not None, "the bench asks for models it knows"
        tokens = int(match[2])
        if not _STREAM.search(body):
            self._end(_json(tokens))
            return
        self._transport.write(_HEAD + _FIRST)
        if match[1] == b"paced":
            self._pace(tokens, 0, 1 / int(match[3]))
        else:
            self._burst(tokens, 0)

    def _burst(self, tokens: int, at: int) -> None:
        if self._transport is None:
            return
        end = min(at + _BURST, tokens)
        self._transport.write(b"".join(_TOKENS[index % 1000] for index in range(at, end)))
        if end < tokens:
            asyncio.get_running_loop().call_soon(self._burst, tokens, end)
        else:
            self._end(_end(tokens))

    def _pace(self, tokens: int, at: int, interval: float) -> None:
        if self._transport is None:
            return
        if at == tokens:
            self._end(_end(tokens))
            return
        self._transport.write(_TOKENS[at % 1000])
        self._timer = asyncio.get_running_loop().call_later(interval, self._pace, tokens, at + 1, interval)

    def _end(self, rest: bytes) -> None:
        assert self._transport is not None
        self._transport.write(rest)
        if self._last:
            self._transport.close()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(ModelProtocol, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
