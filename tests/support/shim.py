"""The shim on a real socket, in the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from breezeway_shim.app import build_app
from breezeway_shim.backend import Backend
from breezeway_shim.config import ShimSettings
from breezeway_shim.connections import Runner


@asynccontextmanager
async def serve_shim(grpc_target: str, **settings: Any) -> AsyncIterator[str]:
    """Serve on a port of 127.0.0.1 that is free, and give the URL."""
    shim_settings = ShimSettings(grpc_target=grpc_target, http_listen="127.0.0.1:0", **settings)
    backend = Backend(grpc_target, reconnect_seconds=shim_settings.reconnect_seconds)
    app = build_app(shim_settings, backend)
    runner = Runner(app, shim_settings, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, *shim_settings.http_address)
        await site.start()
        yield f"http://127.0.0.1:{site.port}"
    finally:
        await runner.cleanup()
