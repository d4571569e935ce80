"""The system under chaos: a model, a server and two shims, each a process, and proxies in front of them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

from tests.chaos.operators import TRACES
from tests.chaos.processes import Process, Ready
from tests.chaos.proxy import Proxy
from tests.support.environ import clean_environ
from tests.support.system import ReservedPort

_CONFIG = """
[agents.talker]
kind = "llm"
model = "talker"
base_url = "http://127.0.0.1:{model}/v1"

[agents.worker]
kind = "llm"
model = "worker"
base_url = "http://127.0.0.1:{model}/v1"
tools = ["tests.chaos.operators:count"]

[agents.frail]
kind = "python"
path = "tests.chaos.operators:frail"
"""
_POLL_SECONDS = 0.05
_PACE = "0.03"
DRAIN_SECONDS = 1.0


@dataclass
class Chaotic:
    """What can be broken, and where the clients go: `grpc` and `http` are ports of 127.0.0.1 behind proxies."""

    server: Process
    shims: list[Process]
    grpc: Proxy
    http: list[Proxy]
    model: Proxy
    inner: Proxy
    """Between the second shim and the server; the first is on the unix socket."""
    direct_grpc: int
    """The server's own port, for questions once all is over."""
    traces: Path


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[Chaotic, None]:
    """All of it, for the length of the block; data and what the processes write stay in `directory`."""
    async with AsyncExitStack() as stack:
        model_port, server_port, *shim_ports = [stack.enter_context(ReservedPort.reserved()).number for _ in range(4)]
        model_proxy = await stack.enter_async_context(Proxy.serving(model_port))
        inner_proxy = await stack.enter_async_context(Proxy.serving(server_port))
        config = directory / "breezeway.toml"
        config.write_text(_CONFIG.format(model=model_proxy.port), encoding="utf-8")
        socket, traces = directory / "grpc.sock", directory / "traces"
        base = clean_environ()
        server_environ = {
            **base,
            TRACES: str(traces),
            "BREEZEWAY_CONFIG": str(config),
            "BREEZEWAY_DATA_DIR": str(directory / "data"),
            "BREEZEWAY_GRPC_LISTEN": f"127.0.0.1:{server_port}",
            "BREEZEWAY_GRPC_SOCKET": str(socket),
            "BREEZEWAY_DRAIN_SECONDS": str(DRAIN_SECONDS),
            # A run of the chaos may meet more crashes in a minute than one of the world in its life.
            "BREEZEWAY_MAX_ATTEMPTS": "1000",
        }

        async def start(
            name: str, module: str, arguments: list[str], environ: Mapping[str, str], ready: Ready
        ) -> Process:
            process = Process(module, arguments, environ, directory / f"{name}.log", ready)
            stack.push_async_callback(process.close)
            await process.start()
            return process

        await start(
            "model", "tests.chaos.model", ["--port", str(model_port), "--pace", _PACE], base, _answering(model_port)
        )
        server = await start("server", "breezeway_server", ["server"], server_environ, _serving(server_port))
        shims = [
            await start(
                f"shim-{index}",
                "breezeway_shim",
                [],
                {**base, "BREEZEWAY_HTTP_LISTEN": f"127.0.0.1:{port}", "BREEZEWAY_GRPC_TARGET": target},
                _answering(port),
            )
            for index, (port, target) in enumerate(
                zip(shim_ports, (f"unix:{socket}", f"127.0.0.1:{inner_proxy.port}"), strict=True)
            )
        ]
        yield Chaotic(
            server=server,
            shims=shims,
            grpc=await stack.enter_async_context(Proxy.serving(server_port)),
            http=[await stack.enter_async_context(Proxy.serving(port)) for port in shim_ports],
            model=model_proxy,
            inner=inner_proxy,
            direct_grpc=server_port,
            traces=traces,
        )


def _answering(port: int) -> Ready:
    async def ready() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/v1/models"):
                        return
                except aiohttp.ClientError:
                    await asyncio.sleep(_POLL_SECONDS)

    return ready


def _serving(port: int) -> Ready:
    async def ready() -> None:
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            while True:
                try:
                    reply = await check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return

    return ready
