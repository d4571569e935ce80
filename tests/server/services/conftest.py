"""A real server on a real socket, and stubs to call it with."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from breezeway.v1 import (
    agent_registry_service_pb2_grpc,
    job_service_pb2_grpc,
    run_service_pb2_grpc,
    store_service_pb2_grpc,
    stream_service_pb2_grpc,
)

from tests.support.server import Stack, serving


@dataclass
class Client:
    """Stubs of every service over one channel."""

    channel: grpc.aio.Channel
    runs: "run_service_pb2_grpc.RunServiceAsyncStub"
    streams: "stream_service_pb2_grpc.StreamServiceAsyncStub"
    store: "store_service_pb2_grpc.StoreServiceAsyncStub"
    agents: "agent_registry_service_pb2_grpc.AgentRegistryServiceAsyncStub"
    jobs: "job_service_pb2_grpc.JobServiceAsyncStub"

    @classmethod
    def of(cls, channel: grpc.aio.Channel) -> "Client":
        return cls(
            channel,
            run_service_pb2_grpc.RunServiceStub(channel),
            stream_service_pb2_grpc.StreamServiceStub(channel),
            store_service_pb2_grpc.StoreServiceStub(channel),
            agent_registry_service_pb2_grpc.AgentRegistryServiceStub(channel),
            job_service_pb2_grpc.JobServiceStub(channel),
        )


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with serving(stack) as channel:
        yield Client.of(channel)
