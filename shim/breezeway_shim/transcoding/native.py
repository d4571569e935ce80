"""The native API over HTTP: every call of breezeway.v1 that has an http rule, under `/api`."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import breezeway.v1
from aiohttp import web
from breezeway.v1 import stream_service_pb2
from google.protobuf.descriptor import ServiceDescriptor

from breezeway_shim.backend import BACKEND, Backend, Metadata, metadata_of
from breezeway_shim.errors import ApiError
from breezeway_shim.reconnecting import Batches
from breezeway_shim.transcoding.status import RefusedRequest, as_status
from breezeway_shim.transcoding.transcoder import Begun, LastingStream, Transcoder

TRANSCODER = web.AppKey("transcoder", Transcoder)


def add_routes(app: web.Application) -> None:
    """Serve it. Raises `RuleError` where the rules of the contract contradict each other."""
    app[TRANSCODER] = Transcoder(services(), app[BACKEND].channel, _lasting(app[BACKEND]))
    # A segment may hold an encoded line feed, which `.` would not match.
    app.router.add_route("*", r"/api/{path:[\s\S]*}", call)


def _lasting(backend: Backend) -> dict[str, LastingStream]:
    """The streams of runs, by the names of their calls: they go on when the server is back."""

    def stream_run(request: Any, metadata: Metadata, timeout: float | None, begun: Begun) -> Batches:
        return backend.stream_run(request, metadata, str, begun, timeout=timeout)

    def follow_run(request: Any, metadata: Metadata, timeout: float | None, _: Begun) -> Batches:
        return backend.follow_run(request, metadata, timeout=timeout)

    streams = stream_service_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name
    return {f"{streams}.StreamRun": stream_run, f"{streams}.FollowRun": follow_run}


async def call(request: web.Request) -> web.StreamResponse:
    """Answer a native call."""
    try:
        return await request.app[TRANSCODER].handle(request)
    except RefusedRequest as error:
        # A stranger is told that they are one, and nothing else: the key comes before what the request says.
        try:
            await request.app[BACKEND].check_credentials(metadata_of(request))
        except ApiError as refused:
            if refused.status in {401, 403}:
                raise as_status(refused) from error
        raise


def services() -> Iterator[ServiceDescriptor]:
    """Yield the services of breezeway.v1."""
    names = sorted(module.name for module in pkgutil.iter_modules(breezeway.v1.__path__))
    for name in names:
        if name.endswith("_pb2"):
            module = importlib.import_module(f"{breezeway.v1.__name__}.{name}")
            yield from module.DESCRIPTOR.services_by_name.values()
