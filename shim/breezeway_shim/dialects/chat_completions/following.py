"""Following a run for a caller of Chat Completions: collected into one object, or as the stream of its chunks."""

from collections.abc import Awaitable
from contextlib import aclosing
from functools import partial

from aiohttp import web
from breezeway.v1 import event_pb2, run_pb2, run_service_pb2, stream_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.chat_completions.completion import completion_of
from breezeway_shim.dialects.chat_completions.projection import ChatProjection, error_frames
from breezeway_shim.dialects.chat_completions.request import ChatCall
from breezeway_shim.dialects.collecting import collect
from breezeway_shim.dialects.cursor import cursor_ahead
from breezeway_shim.dialects.headers import conversation_headers, run_headers
from breezeway_shim.errors import ApiError, error_of_end
from breezeway_shim.rate_limits import note_rate_limits
from breezeway_shim.reconnecting import Batches
from breezeway_shim.shortcut import Events, Shortcut
from breezeway_shim.sse import stream


def run_completion(request: web.Request, call: ChatCall, *, after: int | None) -> Awaitable[web.StreamResponse]:
    """Run what is asked for and follow it to its end, in a stream from behind the frame `after` on.

    What leaving means for the run is in the call; a caller who leaves cancels this. No coroutine: it would hold the
    call for as long as the stream is open.
    """
    shortcut = Shortcut()
    batches = request.app[BACKEND].stream_run(
        call.run,
        metadata_of(request),
        call.field_to_param,
        partial(note_rate_limits, request),
        shortcut=shortcut if call.stream and not after else None,
    )
    if not call.stream:
        return collect(request, batches, completion_of)
    outlives = (
        call.run.spec.durability == run_pb2.DURABILITY_LOGGED
        or call.run.on_disconnect == stream_service_pb2.DISCONNECT_POLICY_CONTINUE
    )
    projection = ChatProjection(
        include_usage=call.include_usage,
        tool_progress=_wants_tool_progress(request),
        # A number promises that its reader can come back.
        numbered=outlives or after is not None,
        after=after or 0,
    )
    return _streamed(request, batches, projection, after or 0, whole_errors=True, shortcut=shortcut)


async def follow_completion(
    request: web.Request, run_id: str, *, after: int, include_usage: bool
) -> web.StreamResponse:
    """Stream a run's chunks from behind the frame `after` on; the run is not touched, however its caller leaves."""
    # From the first event on, because what a frame says depends on all before it.
    wanted = stream_service_pb2.FollowRunRequest(run_id=run_id)
    batches = request.app[BACKEND].follow_run(wanted, metadata_of(request))
    projection = ChatProjection(
        include_usage=include_usage, tool_progress=_wants_tool_progress(request), numbered=True, after=after
    )
    return await _streamed(request, batches, projection, after, whole_errors=False)


def _wants_tool_progress(request: web.Request) -> bool:
    return "tool_progress" in request.headers.get("X-Breezeway-Events", "")


async def _streamed(
    request: web.Request,
    batches: Batches,
    projection: ChatProjection,
    after: int,
    *,
    whole_errors: bool,
    shortcut: Shortcut | None = None,
) -> web.StreamResponse:
    """Stream; with `whole_errors`, a run that fails before its first frame is an HTTP error and not a frame."""
    headers = conversation_headers(request)

    def project(events: Events) -> list[bytes]:
        ready: list[bytes] = []
        for event in events:
            if projection.newest == 0:
                if event.HasField("run_queued"):
                    headers.update(run_headers(request, event.run_id, event.run_queued.spec))
                # Before the first frame a failure is still an HTTP status; after it the projection has its frame.
                if whole_errors and (error := error_of_end(event)):
                    raise error
            ready += projection.add(event)
        return ready

    try:
        return await stream(
            request,
            _reaching(request, batches, projection, after) if after else batches,
            project,
            keepalive_seconds=request.app[SETTINGS].keepalive_seconds,
            headers=headers,
            error_frames=error_frames,
            shortcut=shortcut,
        )
    except ApiError as error:
        error.headers.update(headers)
        raise


async def _reaching(request: web.Request, batches: Batches, projection: ChatProjection, after: int) -> Batches:
    """Yield the batches, each to be projected at once.

    Raises `ApiError` where all that is there does not reach the frame `after`.
    """
    there = 0
    async with aclosing(batches):
        async for events in batches:
            yield events
            if projection.newest < after:
                there = there or await _last_sequence(request, events[0])
                if events[-1].sequence >= there:
                    raise cursor_ahead(after, projection.newest)


async def _last_sequence(request: web.Request, event: event_pb2.RunEvent) -> int:
    """The newest sequence of a run: a caller can have no frame of what comes after it."""
    wanted = run_service_pb2.GetRunRequest(run_id=event.run_id)
    backend = request.app[BACKEND]
    reply = await backend.read(backend.runs.GetRun, wanted, metadata_of(request))
    return reply.run.last_sequence
