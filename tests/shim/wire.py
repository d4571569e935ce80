"""A connection to the shim that says exactly what it is told to, for what no HTTP client would say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Wire:
    """A connection that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> "Answer":
        """The next answer, which has a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def closed(self) -> bytes:
        """What still comes until the other side closes."""
        rest = b""
        try:
            while more := await self.reader.read(65536):
                rest += more
        except ConnectionResetError:
            pass
        return rest


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of an error in OpenAI's shape, which it has to be, or in that of the native calls."""
        said = json.loads(self.body)
        if "error" not in said:
            assert set(said) == {"code", "message", "details"}, said
            return str(said["code"])
        assert set(said["error"]) == {"message", "type", "param", "code"}
        assert self.headers["x-request-id"]
        assert self.headers["x-content-type-options"] == "nosniff"
        return str(said["error"]["code"])


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), **options)
    try:
        yield Wire(reader, writer)
    finally:
        # Also where it holds what nobody takes any more: a transport that only closes would outlive the test.
        writer.transport.abort()


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """The first line and the headers of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
