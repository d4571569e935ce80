"""gRPC clients without the shim: `python -m bench.direct`.

What a service of a mesh pays: StreamRun calls of its own on one channel, and what the server pays for them.
"""

import asyncio
import time
from typing import TypeAlias

import grpc
import uvloop
from breezeway.v1 import item_pb2, run_pb2, stream_service_pb2
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub

from bench import processes
from bench.model import text
from bench.processes import Process

# Model, calls, how many at once.
_SCENARIOS = (("fast-1", 400, 16), ("fast-2000", 40, 20), ("paced-160-20", 300, 300))
_DURABILITIES = (run_pb2.DURABILITY_MEMORY, run_pb2.DURABILITY_LOGGED)


StreamRun: TypeAlias = (
    "grpc.aio.UnaryStreamMultiCallable[stream_service_pb2.StreamRunRequest, stream_service_pb2.StreamRunResponse]"
)


async def _run(stream_run: StreamRun, model: str, durability: run_pb2.Durability.ValueType, tokens: int) -> None:
    wanted = stream_service_pb2.StreamRunRequest(
        spec=run_pb2.RunSpec(agent=model, durability=durability),
        input=[
            item_pb2.Item(
                message=item_pb2.Message(
                    role=item_pb2.ROLE_USER, content=[item_pb2.ContentPart(text=item_pb2.Text(text="hi"))]
                )
            )
        ],
    )
    pieces, last = [], 0
    async for response in stream_run(wanted):
        for event in response.events:
            assert event.sequence == last + 1, "no event is missing"
            last = event.sequence
            pieces.append(event.text_delta.text)
    assert "".join(pieces) == text(tokens), "every byte of the text is there"


async def _measure(process: Process, stream_run: StreamRun, scenario: tuple[str, int, int]) -> None:
    model, calls, at_once = scenario
    tokens = int(model.split("-")[1])
    gate = asyncio.Semaphore(at_once)
    for durability in _DURABILITIES:

        async def one(durability: run_pb2.Durability.ValueType = durability) -> None:
            async with gate:
                await _run(stream_run, model, durability, tokens)

        await one()
        server, own = process.cpu_seconds(), time.process_time()
        await asyncio.gather(*(one() for _ in range(calls)))
        server, own = process.cpu_seconds() - server, time.process_time() - own
        units = calls * tokens
        name = run_pb2.Durability.Name(durability).removeprefix("DURABILITY_")
        print(
            f"{model:14} {at_once:4} at once, {name:6}: server {server * 1e6 / units:7.1f} us, "
            f"client {own * 1e6 / units:7.1f} us a token",
            flush=True,
        )


async def direct() -> None:
    """Print a row for each scenario and durability."""
    models = [model for model, _, _ in _SCENARIOS]
    with processes.model() as model, processes.breezeway(model.port, models) as (system, port):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for scenario in _SCENARIOS:
                await _measure(system, StreamServiceStub(channel).StreamRun, scenario)


if __name__ == "__main__":
    uvloop.run(direct())
