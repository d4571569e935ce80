"""The gRPC server: all services, health, reflection and channelz on one port."""

from collections.abc import Sequence

import grpc
from breezeway.telemetry.traces import NO_TRACER, Tracer
from breezeway.v1 import (
    agent_registry_service_pb2,
    agent_registry_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    operations_service_pb2,
    operations_service_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
    store_service_pb2,
    store_service_pb2_grpc,
    stream_service_pb2,
)
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.events.ids import Uuid7
from breezeway_server.jobs.jobs import Jobs
from breezeway_server.profiles.profiles import Profiles
from breezeway_server.services.access import Gate
from breezeway_server.services.agents import AgentRegistryService
from breezeway_server.services.arrival import ArrivalInterceptor
from breezeway_server.services.conversations import StoreService
from breezeway_server.services.entrance import AccessInterceptor
from breezeway_server.services.interceptor import ErrorInterceptor
from breezeway_server.services.jobs import JobService
from breezeway_server.services.keyring import KeyRing
from breezeway_server.services.keys import KeyService
from breezeway_server.services.operations import OperationsService
from breezeway_server.services.runs import RunService
from breezeway_server.services.streams import StreamService
from breezeway_server.services.transport import PLAIN, Transport
from breezeway_server.store.base import Store

_SERVICES = tuple(
    service.full_name
    for module in (
        agent_registry_service_pb2.DESCRIPTOR,
        job_service_pb2.DESCRIPTOR,
        key_service_pb2.DESCRIPTOR,
        operations_service_pb2.DESCRIPTOR,
        run_service_pb2.DESCRIPTOR,
        store_service_pb2.DESCRIPTOR,
        stream_service_pb2.DESCRIPTOR,
    )
    for service in module.services_by_name.values()
)


class GrpcServer:
    """A server of all services: `bind`, `start`, `stop`. Health says SERVING from `start` until `drain`."""

    def __init__(
        self,
        supervisor: Supervisor,
        agents: AgentRegistry,
        store: Store,
        new_id: Uuid7,
        *,
        max_message_bytes: int,
        keys: KeyRing,
        profiles: Profiles,
        jobs: Jobs,
        operations: OperationsService,
        transport: Transport = PLAIN,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        gate = Gate(keys)
        self._server = grpc.aio.server(
            interceptors=(ArrivalInterceptor(tracer), ErrorInterceptor(), AccessInterceptor(gate)),
            options=(
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
                # Two servers on one port would share its connections at random; a taken port must be an error.
                ("grpc.so_reuseport", 0),
                # Meshes and mobile clients ping often; without this they are told GOAWAY.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                # Who connects and does not speak HTTP/2, or TLS where it is due, is not waited for.
                ("grpc.server_handshake_timeout_ms", 10_000),
                # A shim carries all its callers over one connection, each of which may hold a stream or two.
                ("grpc.max_concurrent_streams", 50_000),
                # A client that wants to call again connects again by itself.
                ("grpc.max_connection_idle_ms", 600_000),
                # As gRPC has them: what is longer is refused, and never reaches a service.
                ("grpc.max_metadata_size", 8 * 1024),
                ("grpc.absolute_max_metadata_size", 16 * 1024),
                *transport.options,
            ),
        )
        self._credentials = transport.credentials
        self._health = health.aio.HealthServicer()
        run_service_pb2_grpc.add_RunServiceServicer_to_server(RunService(supervisor, store), self._server)
        store_service_pb2_grpc.add_StoreServiceServicer_to_server(StoreService(supervisor, store, new_id), self._server)
        agent_registry_service_pb2_grpc.add_AgentRegistryServiceServicer_to_server(
            AgentRegistryService(agents, profiles), self._server
        )
        job_service_pb2_grpc.add_JobServiceServicer_to_server(JobService(jobs, agents, store), self._server)
        key_service_pb2_grpc.add_KeyServiceServicer_to_server(KeyService(store, keys, new_id), self._server)
        operations_service_pb2_grpc.add_OperationsServiceServicer_to_server(operations, self._server)
        self._server.add_generic_rpc_handlers((StreamService(supervisor, gate, tracer).handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        channelz.add_channelz_servicer(self._server)
        channelz_name = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name
        names = (*_SERVICES, health.SERVICE_NAME, channelz_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    def bind(self, addresses: Sequence[str]) -> list[int]:
        """Listen on `host:port` and `unix:path` addresses; return their ports. OSError where one is taken."""
        return [self._bind(address) for address in addresses]

    def _bind(self, address: str) -> int:
        try:
            if self._credentials is not None and not address.startswith("unix:"):
                return self._server.add_secure_port(address, self._credentials)
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"Cannot listen on {address}: in use, or not ours to use") from error

    async def start(self) -> None:
        """Serve on what was bound."""
        await self._server.start()
        for name in ("", *_SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Tell whoever asks that new calls should go elsewhere."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, and cancel the rest."""
        await self._server.stop(grace)
