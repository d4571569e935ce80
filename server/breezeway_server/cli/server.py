"""`breezeway server`: the gRPC server of this process, from its start to its drain."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import structlog
from breezeway.telemetry.traces import NoOpenTelemetry, Tracer, tracer_of
from prometheus_client import CollectorRegistry

from breezeway_server.agents.build import PreparedAgents
from breezeway_server.agents.errors import ConfigError
from breezeway_server.cli.metrics_port import metrics_port
from breezeway_server.config import ServerSettings
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.log import EventLog
from breezeway_server.events.metrics import LogMetrics
from breezeway_server.exposure import check_exposure
from breezeway_server.jobs.jobs import Jobs
from breezeway_server.jobs.metrics import JobMetrics
from breezeway_server.jobs.scheduler import WallClock, schedule
from breezeway_server.profiles.profiles import Profiles
from breezeway_server.profiles.secrets import SecretBox
from breezeway_server.services.keyring import KeyRing
from breezeway_server.services.metrics import ServerCollector
from breezeway_server.services.operations import OperationsService
from breezeway_server.services.server import GrpcServer
from breezeway_server.services.transport import transport_of
from breezeway_server.store.sqlite import open_sqlite

_logger = structlog.get_logger()

# How long calls may take to end once their runs have.
_CALL_GRACE = 1.0

_GARBAGE = 20_000


async def serve(settings: ServerSettings, prepare_agents: Callable[[], PreparedAgents]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

    Raises `ConfigError`, `StoreLocked`, and OSError where an address or the data directory cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    prepared = prepare_agents()
    async with running(settings, prepared) as ports:
        names = [info.name for info in prepared.registry.infos]
        _logger.info("serving", grpc=settings.grpc_listen, port=ports[0], agents=names)
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


def _tracer() -> Tracer:
    try:
        return tracer_of(os.environ, "breezeway-server")
    except NoOpenTelemetry as error:
        raise ConfigError(str(error)) from error


@asynccontextmanager
async def running(settings: ServerSettings, prepared: PreparedAgents) -> AsyncGenerator[list[int], None]:
    """Run the server for as long as the context lasts, then drain it; gives the ports of the addresses."""
    agents = prepared.registry
    transport = transport_of(settings)
    tracer = _tracer()
    store = open_sqlite(settings.data_dir, settings.synchronous)
    try:
        stored = await store.list_keys()
        check_exposure([settings.grpc_listen], settings.plain_keys, stored_keys=bool(stored))
        keys = KeyRing(stored, settings.plain_keys, rates=settings.key_rates(), open_rates=settings.open_rates())
        registry = CollectorRegistry()
        log = EventLog(store, patience=settings.store_patience_seconds, metrics=LogMetrics(registry))
        new_id = Uuid7()
        # Asked before the counters that it makes complete.
        counted = RunMetrics()
        supervisor = Supervisor(store, log, agents, settings.limits(), new_id=new_id, metrics=counted, tracer=tracer)
        registry.register(ServerCollector(supervisor, log, agents, counted))
        counted.register(registry)
        secrets = SecretBox(settings.secret_key.get_secret_value()) if settings.secret_key is not None else None
        profiles = Profiles(store, agents, prepared.builder, supervisor, secrets)
        clock = WallClock()
        jobs = Jobs(store, supervisor, new_id, clock=clock.now, metrics=JobMetrics(registry))
        server = GrpcServer(
            supervisor,
            agents,
            store,
            new_id,
            max_message_bytes=settings.max_message_bytes,
            keys=keys,
            profiles=profiles,
            jobs=jobs,
            operations=OperationsService(supervisor, log, agents, store, registry),
            transport=transport,
            tracer=tracer,
        )
        addresses = [settings.grpc_listen]
        if settings.grpc_socket is not None:
            addresses.append(f"unix:{settings.grpc_socket}")
        # Listening comes first: a server that cannot be reached must not take up runs.
        ports = server.bind(addresses)
        async with metrics_port(settings.metrics_listen, registry), asyncio.TaskGroup() as background:
            writer = background.create_task(log.write())
            sweeper = background.create_task(supervisor.sweeper.run())
            # Runs that are taken up go on with the agents that they began with.
            await profiles.load()
            await supervisor.start()
            scheduler = background.create_task(schedule(jobs, clock))
            await server.start()
            try:
                yield ports
            finally:
                # What is due from now on is the next server's.
                scheduler.cancel()
                await server.drain()
                await supervisor.drain(settings.drain_seconds)
                await server.stop(_CALL_GRACE)
                await profiles.close()
                writer.cancel()
                sweeper.cancel()
    finally:
        await agents.close()
        await store.close()
        await asyncio.to_thread(tracer.close)
