"""`POST /v1/chat/completions`: reads the request, runs it, and answers whole or as a stream."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import web
from breezeway.v1 import event_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.body import read_body
from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.chat_completions.completion import ChatCollector
from breezeway_shim.dialects.chat_completions.projection import ChatProjection, error_frames
from breezeway_shim.dialects.chat_completions.request import ChatCall, parse
from breezeway_shim.dialects.headers import conversation_in, run_headers
from breezeway_shim.errors import error_of_end
from breezeway_shim.sse import stream

RunBatches = AsyncGenerator[Sequence[event_pb2.RunEvent], None]


def add_routes(app: web.Application) -> None:
    """Serve the dialect."""
    app.router.add_post("/v1/chat/completions", create_chat_completion)


async def create_chat_completion(request: web.Request) -> web.StreamResponse:
    """Answer a chat completion request. A client that leaves cancels this, and with it the call to the server."""
    body = await read_body(request)
    call = parse(body, conversation_id=conversation_in(request), request_id=request.headers.get("Idempotency-Key", ""))
    batches = request.app[BACKEND].stream_run(call.run, metadata_of(request), call.field_to_param)
    if call.stream:
        return await _streamed(request, call, batches)
    return await _collected(request, batches)


async def _collected(request: web.Request, batches: RunBatches) -> web.Response:
    collector = ChatCollector()
    headers: dict[str, str] = {}
    async with aclosing(batches):
        async for events in batches:
            for event in events:
                if event.HasField("run_queued"):
                    headers.update(run_headers(request, event))
                if error := error_of_end(event):
                    error.headers.update(headers)
                    raise error
                collector.add(event)
    return web.Response(body=collector.body(), content_type="application/json", headers=headers)


async def _streamed(request: web.Request, call: ChatCall, batches: RunBatches) -> web.StreamResponse:
    projection = ChatProjection(
        include_usage=call.include_usage,
        tool_progress="tool_progress" in request.headers.get("X-Breezeway-Events", ""),
    )
    headers: dict[str, str] = {}

    async def frames() -> AsyncGenerator[list[bytes], None]:
        async with aclosing(batches):
            async for events in batches:
                ready: list[bytes] = []
                for event in events:
                    if event.HasField("run_queued"):
                        headers.update(run_headers(request, event))
                    # Before the first frame a failure is still an HTTP status; after it the projection has its frame.
                    if not projection.begun and (error := error_of_end(event)):
                        error.headers.update(headers)
                        raise error
                    ready += projection.add(event)
                yield ready

    return await stream(
        request,
        frames(),
        keepalive_seconds=request.app[SETTINGS].keepalive_seconds,
        headers=headers,
        error_frames=error_frames,
    )
