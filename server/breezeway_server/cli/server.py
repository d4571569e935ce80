"""`breezeway server`: the gRPC server of this process, from its start to its drain."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import structlog

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.config import ServerSettings
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.log import EventLog
from breezeway_server.services.server import GrpcServer
from breezeway_server.store.sqlite import open_sqlite

_logger = structlog.get_logger()

# How long calls may take to end once their runs have.
_CALL_GRACE = 1.0

_GARBAGE = 20_000


async def serve(settings: ServerSettings, build_agents: Callable[[], AgentRegistry]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    Raises `ConfigError`, `StoreLocked`, and OSError where an address or the data directory cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    agents = build_agents()
    async with running(settings, agents) as ports:
        _logger.info("serving", grpc=settings.grpc_listen, ports=ports, agents=[info.name for info in agents.infos])
        # What was loaded stays for good, and runs leave little garbage in cycles: looking less often, and not at what
        # stays, saves about a tenth of the work.
        gc.freeze()
        gc.set_threshold(_GARBAGE, 20, 50)
        await stop.wait()
        _logger.info("draining", seconds=settings.drain_seconds)
    _logger.info("stopped")


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        # The logs are durable up to what readers have seen: there is nothing that a hard end could break.
        os._exit(1)
    stop.set()


@asynccontextmanager
async def running(settings: ServerSettings, agents: AgentRegistry) -> AsyncGenerator[list[int], None]:
    """Run the server for as long as the context lasts, then drain it; gives the ports of the addresses."""
    store = open_sqlite(settings.data_dir, settings.synchronous)
    try:
        log = EventLog(store, patience=settings.store_patience_seconds)
        new_id = Uuid7()
        supervisor = Supervisor(store, log, agents, settings.limits(), new_id=new_id)
        server = GrpcServer(supervisor, agents, store, new_id, max_message_bytes=settings.max_message_bytes)
        addresses = [settings.grpc_listen]
        if settings.grpc_socket is not None:
            addresses.append(f"unix:{settings.grpc_socket}")
        # Listening comes first: a server that cannot be reached must not take up runs.
        ports = server.bind(addresses)
        async with asyncio.TaskGroup() as background:
            writer = background.create_task(log.write())
            sweeper = background.create_task(supervisor.sweep())
            await supervisor.start()
            await server.start()
            try:
                yield ports
            finally:
                await server.drain()
                await supervisor.drain(settings.drain_seconds)
                await server.stop(_CALL_GRACE)
                writer.cancel()
                sweeper.cancel()
    finally:
        await agents.close()
        await store.close()
