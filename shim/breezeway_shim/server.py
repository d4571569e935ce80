"""Serving the application until somebody asks it to stop."""

import asyncio
import gc
import os
import signal

import structlog
from aiohttp import web
from breezeway.telemetry.traces import tracer_of

from breezeway_shim.app import build_app
from breezeway_shim.backend import Backend
from breezeway_shim.config import ShimSettings
from breezeway_shim.connections import Runner
from breezeway_shim.tls import channel_credentials, http_context

_SHUTDOWN_SECONDS = 10.0
_GARBAGE = 20_000
_log = structlog.get_logger(__name__)


class KeysNeeded(Exception):
    """Others could use the server, which asks nobody for a key."""


async def serve(settings: ShimSettings) -> None:
    """Serve until SIGINT or SIGTERM; then finish what is under way, for ten seconds at most.

    Raises OSError where the address cannot be listened on, `KeysNeeded` where it must not be, and
    `BadTls` and `NoOpenTelemetry`.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    context = http_context(settings)
    tracer = tracer_of(os.environ, "breezeway-shim")
    backend = Backend(
        settings.grpc_target,
        reconnect_seconds=settings.reconnect_seconds,
        credentials=channel_credentials(settings),
        tracer=tracer,
    )
    app = build_app(settings, backend)
    runner = Runner(app, settings, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        if not settings.listens_locally and await backend.keyless():
            raise KeysNeeded
        host, port = settings.http_address
        site = web.TCPSite(runner, host, port, ssl_context=context, reuse_port=settings.http_reuse_port)
        await site.start()
        _log.info("listening", http=site.name, grpc=settings.grpc_target)
        # What was loaded stays for good, and requests leave little garbage in cycles: looking less often, and not at
        # what stays, saves about a tenth of the work.
        gc.freeze()
        gc.set_threshold(_GARBAGE, 20, 50)
        await stopped.wait()
        backend.give_up()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(tracer.close)
