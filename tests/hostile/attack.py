"""An attack on a running system: many hostile requests at once, and what was answered."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

import grpc

from tests.hostile.http import Hostile, hostile_request
from tests.hostile.rpc import call, garbage, send_noise
from tests.support.patience import PATIENCE

_SHARE_OF_RPC = 0.2
_SHARE_OF_NOISE = 0.05
_KEPT_FAULTS = 20
# Requests that are not whole, and are waited for beside the others until the server has enough of them.
_MOST_WAITED_FOR = 200
# What a caller is never to be told for what it sent; UNKNOWN is what grpcio says where a handler breaks.
_OUR_FAULTS = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}


@dataclass
class Outcome:
    """How often what was answered; `faults` are requests that were answered as none may be."""

    http: Counter[str] = field(default_factory=Counter)
    grpc: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __iadd__(self, other: Self) -> Self:
        self.http += other.http
        self.grpc += other.grpc
        self.faults += other.faults
        return self

    def blame(self, what: str) -> None:
        """Note a fault."""
        if len(self.faults) < _KEPT_FAULTS:
            self.faults.append(what)


async def attack(http_port: int, grpc_port: int, *, requests: int, seed: str, clients: int = 16) -> Outcome:
    """Send that many requests, drawn from `seed`, by as many clients at a time."""
    outcome = Outcome()
    left = iter(range(requests))
    places = asyncio.Semaphore(_MOST_WAITED_FOR)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel, asyncio.TaskGroup() as tasks:

        async def wait_for(request: Hostile) -> None:
            try:
                await _attack_http(http_port, request, outcome)
            finally:
                places.release()

        async def client(number: int) -> None:
            random = Random(f"{seed}/{number}")  # noqa: S311 - to be had again is what it is for
            for _ in left:
                share = random.random()
                if share < _SHARE_OF_NOISE:
                    await send_noise(grpc_port, random)
                    outcome.grpc["noise"] += 1
                elif share < _SHARE_OF_NOISE + _SHARE_OF_RPC:
                    method, data = garbage(random)
                    status = await call(channel, method, data)
                    outcome.grpc[status.name] += 1
                    if status in _OUR_FAULTS:
                        outcome.blame(f"gRPC {method.full_name} answered {status.name} to {data[:300]!r}")
                elif (request := hostile_request(random)).whole:
                    await _attack_http(http_port, request, outcome)
                else:
                    await places.acquire()
                    tasks.create_task(wait_for(request))

        for number in range(clients):
            tasks.create_task(client(number))
    return outcome


def resident_bytes(pid: int) -> int:
    """How much memory a process has."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{pid} is no process with memory")


async def _attack_http(port: int, request: Hostile, outcome: Outcome) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.data)
        await writer.drain()
        async with asyncio.timeout(PATIENCE):
            outcome.http[_checked(await _status(reader), request, outcome)] += 1
    except TimeoutError:
        outcome.http["none"] += 1
        outcome.blame(f"no answer to {request.data[:500]!r}")
    except (ConnectionError, asyncio.IncompleteReadError):
        outcome.http["closed"] += 1
        if request.whole:
            outcome.blame(f"no answer, and closed, to {request.data[:500]!r}")
    finally:
        writer.transport.abort()


async def _status(reader: asyncio.StreamReader) -> str:
    """The status of the answer, the first line of which is all that this reads."""
    while (line := await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 100 "):
        # Only that the body may come; the answer is what comes then.
        await reader.readuntil(b"\r\n")
    return line.split(b" ", 2)[1].decode("latin-1")


def _checked(status: str, request: Hostile, outcome: Outcome) -> str:
    if status.startswith("5"):
        outcome.blame(f"{status} to {request.data[:700]!r}")
    return status
