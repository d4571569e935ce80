"""Server-sent events: frames as bytes, and the one writer that every streaming dialect uses."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from aiohttp import hdrs, web

from breezeway_shim.errors import ApiError
from breezeway_shim.shortcut import Events, Shortcut

Batch = TypeVar("Batch")

DONE = b"data: [DONE]\n\n"
# No blank line after it: that would end an event, and to openai-python an event with nothing but the id before it.
KEEP_ALIVE = b": keep-alive\n"

# What may lie unsent before a client counts as slow; the same as aiohttp's.
_MOST_UNSENT = 64 * 1024

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def data_frame(payload: bytes) -> bytes:
    """A frame of one line of data; `payload` is JSON and so has no line breaks."""
    return b"data: " + payload + b"\n\n"


def event_frame(event: str, payload: bytes) -> bytes:
    """A frame with an event name and one line of data."""
    return b"event: " + event.encode() + b"\ndata: " + payload + b"\n\n"


async def stream(
    request: web.Request,
    batches: AsyncGenerator[Batch, None],
    project: Callable[[Batch], list[bytes]],
    *,
    keepalive_seconds: float,
    headers: Mapping[str, str],
    error_frames: Callable[[ApiError], list[bytes]],
    shortcut: Shortcut | None = None,
) -> web.StreamResponse:
    """Answer with the frames that `project` makes of `batches`, each batch in one write, until they end.

    Once the answer has begun, events may come by the `shortcut` in their place, where these are what the batches are.

    `headers` are read when the first frames are there, so that what is learnt on the way can be among them; where
    nothing comes for `keepalive_seconds` they are sent without waiting longer, and a comment after them.
    An ApiError of `batches` or `project` is raised as it is before the headers are out; after them it ends the stream
    with `error_frames`. Leaves `batches` closed in every case.
    """
    response = web.StreamResponse(headers=_HEADERS)
    writer = _Writer(request, response, headers, keepalive_seconds)
    try:
        async with aclosing(batches):
            try:
                async for batch in batches:
                    frames = project(batch)
                    if frames:
                        await writer.write(b"".join(frames))
                        if shortcut is not None:
                            writer.offer(shortcut, project)
                    # The next may be long in coming, and a batch holds the whole message that it came in.
                    del batch, frames
            except ApiError as error:
                await writer.settle()
                if not response.prepared:
                    raise
                await writer.write(b"".join(error_frames(error)))
        await writer.finish()
    except ConnectionResetError:
        # The client left between two writes; closing `batches` has told the server.
        pass
    finally:
        await writer.close()
    return response


class _Writer:
    """Writes to the response, and a comment in between whenever nothing was written for a while.

    One timer at most is set, and a write only notes the time: the timer looks at it when it fires.
    """

    __slots__ = (
        "_chunked",
        "_comment",
        "_headers",
        "_interval",
        "_loop",
        "_project",
        "_request",
        "_response",
        "_timer",
        "_transport",
        "_writing",
        "_written_at",
    )

    def __init__(
        self, request: web.Request, response: web.StreamResponse, headers: Mapping[str, str], interval: float
    ) -> None:
        self._request = request
        self._response = response
        self._headers = headers
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._written_at = self._loop.time()
        self._writing = False
        self._chunked = False
        # Set where events may come by a shortcut.
        self._transport: asyncio.WriteTransport | None = None
        self._project: Callable[[Any], list[bytes]] | None = None
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(interval, self._look)

    async def write(self, data: bytes) -> None:
        if self._comment is not None:
            await self.settle()
        self._writing = True
        if self._response.prepared and data:
            await self._response.write(data)
        else:
            await self._send(data)
        self._writing = False
        self._written_at = self._loop.time()

    def offer(self, shortcut: Shortcut, project: Callable[[Any], list[bytes]]) -> None:
        """Take events by the shortcut from now on, as long as the client keeps up; not before the first frames."""
        if self._project is None and self._chunked and self._request.transport is not None:
            self._transport = self._request.transport
            self._project = project
            shortcut.open(self._deliver)

    def _deliver(self, events: Events) -> bool:
        transport, project = self._transport, self._project
        if transport is None or project is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > _MOST_UNSENT:
            # The way through the reader waits for the client, or finds out that it has left.
            return False
        if data := b"".join(project(events)):
            # What aiohttp writes for a chunk, without the several calls that it takes to get there.
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            self._written_at = self._loop.time()
        return True

    async def settle(self) -> None:
        """Wait until a comment that is being written is out."""
        if self._comment is not None:
            await self._comment
            self._comment = None

    async def finish(self) -> None:
        """End the response, also where nothing was written."""
        await self.write(b"")
        await self._response.write_eof()

    async def close(self) -> None:
        """Let go of timer and comment."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.gather(self._comment, return_exceptions=True)

    async def _send(self, data: bytes) -> None:
        if not self._response.prepared:
            self._response.headers.update(self._headers)
            await self._response.prepare(self._request)
            self._chunked = self._response.headers.get(hdrs.TRANSFER_ENCODING) == "chunked"
            # They are on their way, and whoever looks at them has done so; the stream may be open for hours.
            self._response.headers.clear()
        if data:
            await self._response.write(data)

    async def _send_comment(self) -> None:
        # A client that has left is found out by the server's side of the connection, which cancels the handler.
        with suppress(ConnectionResetError):
            await self._send(KEEP_ALIVE)

    def _look(self) -> None:
        quiet = self._loop.time() - self._written_at
        if quiet < self._interval:
            self._timer = self._loop.call_later(self._interval - quiet, self._look)
            return
        # A write that waits for a slow reader is no quiet stream: more bytes would only pile up.
        if not self._writing and (self._comment is None or self._comment.done()):
            self._comment = self._loop.create_task(self._send_comment())
        self._timer = self._loop.call_later(self._interval, self._look)
