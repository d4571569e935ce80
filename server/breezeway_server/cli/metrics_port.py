"""Metrics over plain HTTP on an address of their own, for servers without a shim."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web
from breezeway.telemetry.exposition import CONTENT_TYPE, exposition
from prometheus_client import CollectorRegistry


@asynccontextmanager
async def metrics_port(listen: str | None, registry: CollectorRegistry) -> AsyncGenerator[int | None, None]:
    """Answer `GET /metrics` on `host:port` to whoever asks, for as long as the context lasts; gives the port.

    Does nothing where there is no address. OSError where it is taken.
    """
    if listen is None:
        yield None
        return

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(registry).encode(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        host, _, port = listen.rpartition(":")
        await web.TCPSite(runner, host.removeprefix("[").removesuffix("]"), int(port)).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
