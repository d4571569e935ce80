"""What every gRPC tool expects of a server: reflection, health, channelz, and clear starts and stops."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway.v1 import agent_registry_service_pb2, agent_registry_service_pb2_grpc
from breezeway_server.services.keyring import KeyRing
from breezeway_server.services.server import GrpcServer
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.server import Stack

SERVICES = [f"{name}Service" for name in ("AgentRegistry", "Job", "Key", "Operations", "Run", "Store", "Stream")]
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def server_of(stack: Stack) -> GrpcServer:
    return GrpcServer(
        stack.supervisor,
        stack.agents,
        stack.store,
        stack.new_id,
        max_message_bytes=1_000_000,
        keys=KeyRing([]),
        profiles=stack.profiles,
        jobs=stack.jobs,
        operations=stack.operations(),
    )


async def test_reflection_lists_and_describes_every_service(client: Client, stack: Stack) -> None:
    server = server_of(stack)
    (port,) = server.bind(["127.0.0.1:0"])
    await server.start()

    def describe() -> tuple[list[str], list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            services = list(database.get_services())
            found = [database.FindFileContainingSymbol(name).name for name in services]
        return services, found

    services, files = await asyncio.to_thread(describe)
    assert [name.removeprefix("breezeway.v1.") for name in services if name.startswith("breezeway")] == SERVICES
    assert {"grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} < set(services)
    assert all(files)
    await server.stop(0)


async def test_health_says_serving_until_the_drain(stack: Stack) -> None:
    server = server_of(stack)
    (port,) = server.bind(["127.0.0.1:0"])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        names = ["", *(f"breezeway.v1.{name}" for name in SERVICES)]
        for status in (SERVING, NOT_SERVING):
            for name in names:
                assert (await health.Check(health_pb2.HealthCheckRequest(service=name))).status == status
            await server.drain()
        refusal = await refused(health.Check(health_pb2.HealthCheckRequest(service="nobody")))
        assert refusal.code == grpc.StatusCode.NOT_FOUND
    await server.stop(0)


async def test_health_can_be_watched(stack: Stack) -> None:
    server = server_of(stack)
    (port,) = server.bind(["127.0.0.1:0"])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        await server.drain()
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
    await server.stop(0)


async def test_channelz_answers(client: Client) -> None:
    channelz = channelz_pb2_grpc.ChannelzStub(client.channel)  # type: ignore[arg-type] # made for both kinds
    answer = await channelz.GetServers(channelz_pb2.GetServersRequest())
    assert answer.server


async def test_an_unknown_call_is_unimplemented(client: Client) -> None:
    call: Any = client.channel.unary_unary("/breezeway.v1.RunService/Nothing")
    assert (await refused(call(b""))).code == grpc.StatusCode.UNIMPLEMENTED


async def test_a_port_that_is_taken_is_a_clear_error(stack: Stack) -> None:
    first, second = server_of(stack), server_of(stack)
    (port,) = first.bind(["127.0.0.1:0"])
    await first.start()
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        second.bind([f"127.0.0.1:{port}"])
    await second.stop(0)
    await first.stop(0)


async def test_a_unix_socket_serves_too(stack: Stack, tmp_path: Path) -> None:
    server = server_of(stack)
    address = f"unix:{tmp_path / 'grpc.sock'}"
    server.bind(["127.0.0.1:0", address])
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        agents = agent_registry_service_pb2_grpc.AgentRegistryServiceStub(channel)
        listed = await agents.ListAgents(agent_registry_service_pb2.ListAgentsRequest())
        assert listed.agents
    await server.stop(0)
