"""A gRPC client of the running system."""

from collections.abc import AsyncGenerator

import grpc
from breezeway.v1 import event_pb2, run_pb2, run_service_pb2, stream_service_pb2
from breezeway.v1.agent_registry_service_pb2_grpc import AgentRegistryServiceStub
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub

from tests.support.agents import said


class Native:
    """The calls that the cases make, over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.runs = RunServiceStub(channel)
        self.streams = StreamServiceStub(channel)
        self.agents = AgentRegistryServiceStub(channel)

    async def stream(
        self,
        agent: str,
        text: str,
        *,
        spec: run_pb2.RunSpec | None = None,
        on_disconnect: stream_service_pb2.DisconnectPolicy.ValueType = stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED,
    ) -> AsyncGenerator[event_pb2.RunEvent, None]:
        """The events of a new run, stored unless `spec` says otherwise; closing this hangs up."""
        wanted = run_pb2.RunSpec(agent=agent)
        if spec is not None:
            wanted.MergeFrom(spec)
        request = stream_service_pb2.StreamRunRequest(spec=wanted, input=[said(text)], on_disconnect=on_disconnect)
        call = self.streams.StreamRun(request)
        try:
            async for batch in call:
                for event in batch.events:
                    yield event
        finally:
            call.cancel()

    async def follow(self, run_id: str, *, after: int = 0) -> AsyncGenerator[event_pb2.RunEvent, None]:
        """The events of a run above `after`, to its end; closing this hangs up."""
        request = stream_service_pb2.FollowRunRequest(run_id=run_id, after_sequence=after)
        call = self.streams.FollowRun(request)
        try:
            async for batch in call:
                for event in batch.events:
                    yield event
        finally:
            call.cancel()

    async def ended(self, run_id: str) -> run_pb2.Run:
        """The run, once it is over."""
        async for _ in self.follow(run_id):
            pass
        return await self.get(run_id)

    async def get(self, run_id: str) -> run_pb2.Run:
        return (await self.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id))).run

    async def create(self, agent: str, text: str) -> run_pb2.Run:
        request = run_service_pb2.CreateRunRequest(spec=run_pb2.RunSpec(agent=agent), input=[said(text)])
        return (await self.runs.CreateRun(request)).run

    async def cancel(self, run_id: str) -> run_pb2.Run:
        """The run, once its cancelling has settled."""
        return (await self.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run_id))).run


def text_of(events: list[event_pb2.RunEvent]) -> str:
    """What the messages of a run say, by its deltas."""
    return "".join(event.text_delta.text for event in events)
