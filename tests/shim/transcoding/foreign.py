"""The foreign service of tests/protos/messaging.proto: its descriptors, a real server, and a transcoder before it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web
from breezeway_shim.body_budget import BODY_BUDGET, BodyBudget
from breezeway_shim.config import SETTINGS, ShimSettings
from breezeway_shim.middleware import add_headers, identify, shape_errors
from breezeway_shim.transcoding.transcoder import Transcoder
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.support.patience import PATIENCE

PROTO = Path(__file__).parents[2] / "protos" / "messaging.proto"


def compile_proto(path: Path, out: Path) -> DescriptorPool:
    """The file and all that it imports, in a pool of their own: nothing of it is in the default pool."""
    google_api, tools = find_spec("google.api"), find_spec("grpc_tools")
    assert google_api is not None
    assert google_api.submodule_search_locations is not None
    assert tools is not None
    assert tools.origin is not None
    includes = [
        path.parent,
        Path(next(iter(google_api.submodule_search_locations))).parent.parent,
        Path(tools.origin).parent / "_proto",
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{include}" for include in includes)]
    subprocess.run([*command, "--include_imports", f"--descriptor_set_out={out}", path.name], check=True)
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


class MessagingServer:
    """Answers every call with its request, but for the calls that fail, wait and stream."""

    def __init__(self, service: ServiceDescriptor) -> None:
        self._service = service
        self.requests: list[Any] = []
        self.metadata: dict[str, str] = {}
        self.time_remaining: float | None = None
        self.failure: status_pb2.Status | tuple[grpc.StatusCode, str] = status_pb2.Status()
        # Answer with a number that google.protobuf.Value has no JSON for.
        self.unwritable = False
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()

    def handlers(self) -> dict[str, Any]:
        return {method.name: self._handler(method) for method in self._service.methods}

    def kind(self, name: str) -> Descriptor:
        return self._service.file.message_types_by_name[name]

    def rich_failure(self) -> status_pb2.Status:
        complaint = GetMessageClass(self.kind("Complaint"))(about="weather")
        retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=6, nanos=1))
        details = []
        for detail in (complaint, retry):
            details.append(any_pb2.Any())
            details[-1].Pack(detail)
        details.append(any_pb2.Any(type_url="type.googleapis.com/of.nobody.Knows", value=b"\xff"))
        return status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="Rest.", details=details)

    def _handler(self, method: MethodDescriptor) -> Any:
        parse = GetMessageClass(method.input_type).FromString
        serialize = GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            stream = self._watch if method.name == "Watch" else self._recite
            return grpc.unary_stream_rpc_method_handler(stream, parse, serialize)
        unary = {"Fail": self._fail, "Wait": self._wait}.get(method.name, self._echo)
        return grpc.unary_unary_rpc_method_handler(unary, parse, serialize)

    async def _echo(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.time_remaining = context.time_remaining()
        if self.unwritable:
            request.value.number_value = float("inf")
        return request

    async def _fail(self, _: Any, context: Any) -> Any:
        if isinstance(self.failure, tuple):
            await context.abort(*self.failure)
        await context.abort_with_status(rpc_status.to_status(self.failure))

    async def _wait(self, *_: Any) -> Any:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """Five events in batches of two, with a failure at one of them or, without an end, at none."""
        self.requests.append(request)
        reply = GetMessageClass(self.kind("WatchResponse"))
        for first in range(request.after_sequence + 1, 6, 2):
            if first <= request.fail_at <= first + 1:
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "The tape is torn.")
            batch = [{"sequence": number, "text": f"{number}\n"} for number in range(first, min(first + 2, 6))]
            yield reply(events=batch)

    async def _recite(self, request: Any, _: Any) -> AsyncIterator[Any]:
        try:
            for text in request.texts:
                yield GetMessageClass(self.kind("Everything"))(name=text)
            if request.truth:
                self.waiting.set()
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@asynccontextmanager
async def serve_messaging(
    service: ServiceDescriptor, *, keepalive_seconds: float = PATIENCE
) -> AsyncIterator[tuple[MessagingServer, str]]:
    """The server, and the URL of the transcoder in front of it."""
    messaging = MessagingServer(service)
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    handler = grpc.method_handlers_generic_handler(service.full_name, messaging.handlers())
    server.add_generic_rpc_handlers((handler,))
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    app = web.Application(middlewares=[identify, shape_errors])
    app[SETTINGS] = settings = ShimSettings(keepalive_seconds=keepalive_seconds, max_body_bytes=100_000)
    app[BODY_BUDGET] = BodyBudget(settings)
    app.on_response_prepare.append(add_headers)
    app.router.add_route("*", "/{path:.*}", Transcoder([service], channel).handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield messaging, f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
        await channel.close()
        await server.stop(grace=None)
