"""Following a run for a reader of the runs dialect, who may come a little before the run is there."""

import asyncio

from aiohttp import web
from breezeway.v1 import run_pb2, run_service_pb2, stream_service_pb2

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.cursor import cursor_ahead
from breezeway_shim.dialects.runs.projection import RunsProjection, error_frames
from breezeway_shim.errors import ApiError
from breezeway_shim.ids import is_run_id
from breezeway_shim.shortcut import Events
from breezeway_shim.sse import stream

# How long a reader waits for a run that is not there yet, and how often it looks.
_PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.1


async def follow(request: web.Request, run_id: str, *, after: int) -> web.StreamResponse:
    """Stream a run's events above the sequence `after` to its end. The run is not touched, however its reader leaves.

    A run that is not there yet is waited for, two seconds at most.
    """
    run = await _awaited_run(request, run_id)
    # A caller can have no event of what had not happened yet.
    if after > run.last_sequence:
        raise cursor_ahead(after, run.last_sequence)
    # From the first event on, because what a frame says depends on all before it.
    wanted = stream_service_pb2.FollowRunRequest(run_id=run.id)
    batches = request.app[BACKEND].follow_run(wanted, metadata_of(request))
    projection = RunsProjection()

    def project(events: Events) -> list[bytes]:
        ready: list[bytes] = []
        for event in events:
            new = projection.add(event)
            if event.sequence > after:
                ready += new
        return ready

    return await stream(
        request,
        batches,
        project,
        keepalive_seconds=request.app[SETTINGS].keepalive_seconds,
        headers={"X-Run-Id": run.id},
        error_frames=error_frames,
    )


async def _awaited_run(request: web.Request, run_id: str) -> run_pb2.Run:
    """The run. Raises `ApiError` 404 where it is not there in time, and at once for what is no run's id."""
    backend, metadata = request.app[BACKEND], metadata_of(request)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_SECONDS
    while True:
        try:
            reply = await backend.read(backend.runs.GetRun, run_service_pb2.GetRunRequest(run_id=run_id), metadata)
        except ApiError as error:
            if error.status != 404 or not is_run_id(run_id) or loop.time() >= deadline:
                raise
        else:
            return reply.run
        await asyncio.sleep(_PAUSE_SECONDS)
