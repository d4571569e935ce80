"""Following a run for a caller of Responses: collected into one object, or as the stream of its events."""

from collections.abc import Awaitable
from functools import partial
from typing import Any

from aiohttp import web
from breezeway.v1 import run_pb2, stream_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.collecting import collect
from breezeway_shim.dialects.cursor import cursor_ahead
from breezeway_shim.dialects.headers import conversation_headers, run_headers
from breezeway_shim.dialects.responses.frames import error_frame
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.projection import ResponseProjection
from breezeway_shim.dialects.responses.request import ResponseCall
from breezeway_shim.errors import ApiError, run_failed
from breezeway_shim.rate_limits import note_rate_limits
from breezeway_shim.reconnecting import Batches
from breezeway_shim.shortcut import Events, Shortcut
from breezeway_shim.sse import stream


def run_response(request: web.Request, call: ResponseCall) -> Awaitable[web.StreamResponse]:
    """Run what is asked for and follow it to its end. What leaving means for the run is in the call.

    No coroutine: it would hold the call for as long as the stream is open.
    """
    wanted = stream_service_pb2.StreamRunRequest(
        spec=call.spec,
        input=call.input,
        request_id=call.options.request_id,
        detail=stream_service_pb2.STREAM_DETAIL_FULL if call.stream else stream_service_pb2.STREAM_DETAIL_ITEMS,
        on_disconnect=call.options.leaving(call.spec),
    )
    shortcut = Shortcut()
    batches = request.app[BACKEND].stream_run(
        wanted, metadata_of(request), call.field_to_param, partial(note_rate_limits, request), shortcut=shortcut
    )
    if not call.stream:
        return collect(request, batches, _response_of)
    return _streamed(request, batches, shortcut=shortcut)


async def collect_response(request: web.Request, run: run_pb2.Run) -> web.Response:
    """Wait for the end of a run that is there, and answer with it. The run is not touched."""
    wanted = stream_service_pb2.FollowRunRequest(run_id=run.id, detail=stream_service_pb2.STREAM_DETAIL_ITEMS)
    return await collect(request, request.app[BACKEND].follow_run(wanted, metadata_of(request)), _response_of)


async def follow_response(request: web.Request, run: run_pb2.Run, *, after: int) -> web.StreamResponse:
    """Stream a stored run's events above the number `after`; -1 for all. The run is not touched."""
    # From the first event on, because what a frame says depends on all before it.
    wanted = stream_service_pb2.FollowRunRequest(run_id=run.id)
    batches = request.app[BACKEND].follow_run(wanted, metadata_of(request))
    return await _streamed(request, batches, after=after, there=run.last_sequence)


def _response_of(run: run_pb2.Run) -> dict[str, Any]:
    """The response of a run that is over. Raises `ApiError` where it failed."""
    if run.state == run_pb2.RUN_STATE_FAILED:
        raise run_failed(run.error)
    # Also where somebody cancelled it: unlike a chat completion, a response has a status that says so.
    return response_json(run)


async def _streamed(
    request: web.Request, batches: Batches, *, after: int = -1, there: int = 0, shortcut: Shortcut | None = None
) -> web.StreamResponse:
    """Stream from behind the frame `after` on; `there` is the sequence up to which the run had come before."""
    projection = ResponseProjection()
    headers = conversation_headers(request)

    def project(events: Events) -> list[bytes]:
        first = projection.frames_written
        if not first:
            headers.update(run_headers(request, events[0].run_id, events[0].run_queued.spec))
        ready = [frame for event in events for frame in projection.add(event)]
        if first > after:
            return ready
        newest = projection.frames_written - 1
        # A caller can have no frame of what had not happened yet.
        if newest < after and events[-1].sequence >= there:
            raise cursor_ahead(after, newest)
        return ready[after + 1 - first :]

    try:
        return await stream(
            request,
            batches,
            project,
            keepalive_seconds=request.app[SETTINGS].keepalive_seconds,
            headers=headers,
            error_frames=lambda error: [error_frame(error, projection.frames_written)],
            shortcut=shortcut,
        )
    except ApiError as error:
        error.headers.update(headers)
        raise
