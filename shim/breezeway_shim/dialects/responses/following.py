"""Following a run for a caller of Responses: collected into one object, or as the stream of its events."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import web
from breezeway.v1 import event_pb2, run_pb2, stream_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.headers import run_headers
from breezeway_shim.dialects.responses.fold import RunFold
from breezeway_shim.dialects.responses.frames import error_frame
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.dialects.responses.projection import ResponseProjection
from breezeway_shim.dialects.responses.request import ResponseCall
from breezeway_shim.errors import INVALID_REQUEST, ApiError, run_failed
from breezeway_shim.openai_items.answers import json_answer
from breezeway_shim.sse import stream

RunBatches = AsyncGenerator[Sequence[event_pb2.RunEvent], None]


def not_found(run_id: str) -> ApiError:
    """The answer to a caller who asks for a response that is not there, or was not to be stored."""
    return ApiError(404, INVALID_REQUEST, "not_found", f"There is no response {run_id!r}.")


async def run_response(request: web.Request, call: ResponseCall, request_id: str) -> web.StreamResponse:
    """Run what is asked for and follow it to its end. A caller who leaves cancels a run that is not stored."""
    stored = call.spec.durability != run_pb2.DURABILITY_MEMORY
    wanted = stream_service_pb2.StreamRunRequest(
        spec=call.spec,
        input=call.input,
        request_id=request_id,
        detail=stream_service_pb2.STREAM_DETAIL_FULL if call.stream else stream_service_pb2.STREAM_DETAIL_ITEMS,
        on_disconnect=(
            stream_service_pb2.DISCONNECT_POLICY_CONTINUE if stored else stream_service_pb2.DISCONNECT_POLICY_CANCEL
        ),
    )
    batches = request.app[BACKEND].stream_run(wanted, metadata_of(request), call.field_to_param)
    return await (_streamed(request, batches) if call.stream else _collected(request, batches))


async def follow_response(request: web.Request, run_id: str, *, frames_sent: int) -> web.StreamResponse:
    """Stream a stored run's events but for the first `frames_sent`, which the caller has."""
    # From the first event on, because what a frame says depends on all before it.
    wanted = stream_service_pb2.FollowRunRequest(run_id=run_id)
    batches = request.app[BACKEND].follow_run(wanted, metadata_of(request))
    return await _streamed(request, _stored_only(batches, run_id), frames_sent=frames_sent)


async def _stored_only(batches: RunBatches, run_id: str) -> RunBatches:
    async with aclosing(batches):
        async for events in batches:
            if events[0].run_queued.spec.durability == run_pb2.DURABILITY_MEMORY:
                raise not_found(run_id)
            yield events


async def _collected(request: web.Request, batches: RunBatches) -> web.Response:
    fold = RunFold()
    headers: dict[str, str] = {}
    async with aclosing(batches):
        async for events in batches:
            for event in events:
                if event.HasField("run_queued"):
                    headers.update(run_headers(request, event))
                fold.add(event)
    if fold.run.state == run_pb2.RUN_STATE_FAILED:
        error = run_failed(fold.run.error)
        error.headers.update(headers)
        raise error
    # Also where somebody cancelled it: unlike a chat completion, a response has a status that says so.
    return json_answer(response_json(fold.run), headers)


async def _streamed(request: web.Request, batches: RunBatches, *, frames_sent: int = 0) -> web.StreamResponse:
    projection = ResponseProjection()
    headers: dict[str, str] = {}

    async def frames() -> AsyncGenerator[list[bytes], None]:
        async with aclosing(batches):
            async for events in batches:
                if not headers:
                    headers.update(run_headers(request, events[0]))
                first = projection.frames_written
                ready = [frame for event in events for frame in projection.add(event)]
                yield ready[max(0, frames_sent - first) :]
        if projection.frames_written < frames_sent:
            message = f"The response has {projection.frames_written} events, numbered from 0."
            raise ApiError(400, INVALID_REQUEST, "cursor_ahead", message, "starting_after")

    return await stream(
        request,
        frames(),
        keepalive_seconds=request.app[SETTINGS].keepalive_seconds,
        headers=headers,
        error_frames=lambda error: [error_frame(error, projection.frames_written)],
    )
