"""Clients over gRPC: they stream runs, come back where they lost a stream, watch those of others, and cancel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import TypeVar

import grpc
from breezeway.v1 import event_pb2, item_pb2, run_pb2, run_service_pb2, stream_service_pb2
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub
from breezeway_server.events.legal import TERMINAL_KINDS, TERMINAL_STATES

from tests.chaos.book import Asked, Book, Broken, encoded
from tests.chaos.model import ask
from tests.chaos.work import CONVERSATIONS, RETRY_SECONDS, Work
from tests.support.agents import said

T = TypeVar("T")

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 300),
)


class Native:
    """One client with a channel of its own."""

    def __init__(self, port: int, book: Book, random: Random) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self._runs = RunServiceStub(self._channel)
        self._streams = StreamServiceStub(self._channel)
        self._book = book
        self._random = random

    async def close(self) -> None:
        await self._channel.close()

    async def stream(self, work: Work) -> None:
        """Start a run, perhaps in a conversation that others write to, and see it through.

        It comes back with the last sequence as often as the stream is lost.
        """
        asked = self._book.ask("grpc", *work)
        spec = _spec(asked)
        spec.conversation_id = self._random.choice(CONVERSATIONS)
        spec.busy_policy = run_pb2.BUSY_POLICY_QUEUE
        request = stream_service_pb2.StreamRunRequest(spec=spec, input=[_input(asked)], request_id=asked.key)
        await self._see_through(asked, lambda: self._streams.StreamRun(request))

    async def cancel(self, work: Work) -> None:
        """Start a run, cancel it somewhere on its way, and see that nothing comes after that has settled."""
        asked = self._book.ask("grpc, cancelled", *work)
        request = run_service_pb2.CreateRunRequest(spec=_spec(asked), input=[_input(asked)], request_id=asked.key)
        created = await self._insist(asked, lambda: self._runs.CreateRun(request))
        if created is None:
            return
        asked.run_id = created.run.id
        await asyncio.sleep(self._random.uniform(0, 1.5))
        cancel = run_service_pb2.CancelRunRequest(run_id=asked.run_id)
        cancelled = await self._insist(asked, lambda: self._runs.CancelRun(cancel))
        if cancelled is None:
            return
        if cancelled.run.state not in TERMINAL_STATES:
            self._book.blame(Broken.WRONG, f"{asked.key}: cancelled, and {run_pb2.RunState.Name(cancelled.run.state)}")
        asked.cancelled_at = cancelled.run.last_sequence
        await self._see_through(asked, lambda: self._follow(asked.run_id, 0))

    async def watch(self, asked: Asked) -> None:
        """Follow somebody else's run for a while, from an event that somebody has."""
        after = self._random.choice([0, *asked.events])
        left = self._random.randint(1, 50)
        try:
            async for event in _events(self._follow(asked.run_id, after)):
                if event.sequence != after + 1:
                    self._book.blame(Broken.LOST, f"{asked.key}: {event.sequence} came after {after} to another reader")
                after = event.sequence
                known = asked.events.setdefault(after, encoded(event)) if self._ahead(asked, after) else None
                if known is not None and known != encoded(event):
                    self._book.blame(Broken.LOST, f"{asked.key}: event {after} is another to another reader")
                left -= 1
                if not left:
                    return
        except grpc.aio.AioRpcError as error:
            self._judge(asked, error)

    def _ahead(self, asked: Asked, sequence: int) -> bool:
        # Only what its own client has is compared: a reader who is faster is checked in the end, as all are.
        return sequence in asked.events

    async def _see_through(self, asked: Asked, begin: Callable[[], "_Call"]) -> None:
        while True:
            last = max(asked.events, default=0)
            try:
                async for event in _events(self._follow(asked.run_id, last) if last else begin()):
                    self._book.see(asked, event)
                    if self._random.random() < 0.005:
                        await asyncio.sleep(1.0)  # A reader that stalls.
                    if event.WhichOneof("kind") in TERMINAL_KINDS:
                        return
            except grpc.aio.AioRpcError as error:
                if not self._judge(asked, error):
                    return
            else:
                self._book.blame(Broken.LOST, f"{asked.key}: the stream ended without an end of the run")
                return
            self._book.resumes += 1
            await asyncio.sleep(RETRY_SECONDS)

    def _follow(self, run_id: str, after: int) -> "_Call":
        return self._streams.FollowRun(stream_service_pb2.FollowRunRequest(run_id=run_id, after_sequence=after))

    def _judge(self, asked: Asked, error: grpc.aio.AioRpcError) -> bool:
        """Whether to come back: that a server is away is to be expected, that it forgets what it said is not."""
        # CANCELLED is gRPC's own word to a call that comes at the very moment in which a server stops.
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
            return True
        lost = error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE}
        self._book.blame(
            Broken.LOST if lost else Broken.WRONG, f"{asked.key} {asked.run_id}: {error.code().name} {error.details()}"
        )
        return False

    async def _insist(self, asked: Asked, call: Callable[[], Awaitable[T]]) -> T | None:
        """What the call gives once the server is there to answer; None where it refuses."""
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if not self._judge(asked, error):
                    return None
            self._book.resumes += 1
            await asyncio.sleep(RETRY_SECONDS)


_Call = (
    grpc.aio.UnaryStreamCall[stream_service_pb2.StreamRunRequest, stream_service_pb2.StreamRunResponse]
    | grpc.aio.UnaryStreamCall[stream_service_pb2.FollowRunRequest, stream_service_pb2.FollowRunResponse]
)


async def _events(call: _Call) -> AsyncIterator[event_pb2.RunEvent]:
    try:
        async for batch in call:
            for event in batch.events:
                yield event
    finally:
        call.cancel()


def _spec(asked: Asked) -> run_pb2.RunSpec:
    return run_pb2.RunSpec(agent=asked.agent, metadata={"chaos": asked.key})


def _input(asked: Asked) -> item_pb2.Item:
    return said(ask(asked.key, asked.words))
