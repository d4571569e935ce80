"""How the system is: for balancers and probes, which ask without a key, and for operators, who need one."""

import os
import time
from collections.abc import AsyncGenerator
from importlib.metadata import version
from typing import Any

import grpc
import msgspec
from aiohttp import web
from breezeway.telemetry.exposition import CONTENT_TYPE
from breezeway.v1 import operations_service_pb2, run_pb2
from google.protobuf.json_format import MessageToDict

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.connection import count_reconnects
from breezeway_shim.errors import rpc_errors, says_why
from breezeway_shim.observing import METRICS
from breezeway_shim.openai_items.answers import json_answer

# A server that takes longer to say how it is is not well, and a scraper waits ten seconds for both of us.
_SECONDS = 5.0
_STARTED = web.AppKey("started", float)


def add_routes(app: web.Application) -> None:
    """Serve them."""
    app[_STARTED] = time.monotonic()
    app.cleanup_ctx.append(_watch_connection)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/health", health)
    app.router.add_get("/health/detailed", detailed)
    app.router.add_get("/alive", alive)
    app.router.add_get("/ready", health)
    app.router.add_get("/metrics", metrics)


async def _watch_connection(app: web.Application) -> AsyncGenerator[None, None]:
    async with count_reconnects(app[BACKEND].channel, app[METRICS].reconnects):
        yield


async def alive(request: web.Request) -> web.Response:  # noqa: ARG001  aiohttp's signature
    """Answer 200: the process is there."""
    return json_answer({"status": "ok"})


async def health(request: web.Request) -> web.Response:
    """Answer 200 where the server behind serves, and 503 where it does not or cannot be reached."""
    serving = await request.app[BACKEND].serving()
    body = msgspec.json.encode({"status": "ok" if serving else "unavailable"})
    return web.Response(status=200 if serving else 503, body=body, content_type="application/json")


async def detailed(request: web.Request) -> web.Response:
    """Answer with what shim and server are doing, to operators: 503 where a part of it is not ready."""
    with rpc_errors():
        status = await request.app[BACKEND].operations.GetStatus(
            operations_service_pb2.GetStatusRequest(), metadata=metadata_of(request), timeout=_SECONDS
        )
    draining = status.state == operations_service_pb2.SERVER_STATE_DRAINING
    ready = all(part.ready for part in status.parts) and not draining
    said = {
        "status": "ok" if ready else "draining" if draining else "degraded",
        "server": _server_json(status),
        "shim": {
            "version": version("breezeway"),
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - request.app[_STARTED], 3),
            "open_streams": request.app[METRICS].open_streams,
        },
    }
    return web.Response(status=200 if ready else 503, body=msgspec.json.encode(said), content_type="application/json")


def _server_json(status: operations_service_pb2.GetStatusResponse) -> dict[str, Any]:
    age = status.last_commit_age.ToTimedelta().total_seconds() if status.HasField("last_commit_age") else None
    active = {_active_name(runs): runs.count for runs in status.active_runs}
    return {
        "version": status.version,
        "pid": status.pid,
        "uptime_seconds": status.uptime.ToTimedelta().total_seconds(),
        "active_runs": active,
        "agents": status.agents,
        "last_commit_age_seconds": age,
        "parts": [MessageToDict(part, always_print_fields_with_no_presence=True) for part in status.parts],
    }


def _active_name(runs: operations_service_pb2.ActiveRuns) -> str:
    value = run_pb2.RunState.DESCRIPTOR.values_by_number.get(runs.state)
    # A state that is newer than this reader has no name here.
    return value.name.removeprefix("RUN_STATE_").lower() if value else "unknown"


async def metrics(request: web.Request) -> web.Response:
    """Answer with the metrics of shim and server in Prometheus' text format; with the shim's alone without a server."""
    own = request.app[METRICS]
    try:
        reply = await request.app[BACKEND].operations.GetMetrics(
            operations_service_pb2.GetMetricsRequest(), metadata=metadata_of(request), timeout=_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        if says_why(error):
            # It was reached, and has refused.
            with rpc_errors():
                raise
        text = own.text(backend_up=False)
    else:
        text = own.text(backend_up=True) + reply.text
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
