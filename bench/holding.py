"""What is held: memory for each open stream, and for readers that have stalled: `python -m bench.holding`."""

import asyncio
import json
import socket

import uvloop

from bench import processes
from bench.processes import Process

_QUIET = "paced-1000-1"
_LONG = "fast-20000"


async def _open(
    port: int, request: bytes, *, window: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket()
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=2**12)
    writer.write(request)
    return reader, writer


def _post(model: str, **more: object) -> bytes:
    wanted = {"model": model, "stream": True, "messages": [{"role": "user", "content": "hi"}], **more}
    body = json.dumps(wanted).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def idle(process: Process, count: int) -> float:
    """Return kB of memory for each of `count` streams that wait for their next token."""
    before = process.resident_bytes()
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for _ in range(count // 50):
        streams += await asyncio.gather(*(_open(process.port, _post(_QUIET)) for _ in range(50)))
    # The first token of each has come: the stream is open all the way.
    await asyncio.gather(*(reader.readuntil(b"tok000") for reader, _ in streams))
    held = (process.resident_bytes() - before) / count / 1000
    for _, writer in streams:
        writer.close()
    return held


async def stalled(process: Process, count: int) -> float:
    """Return kB of memory for each of `count` readers that stop reading one long run."""
    reader, writer = await _open(process.port, _post(_LONG, store=True))
    run = (await reader.readuntil(b'"object"')).partition(b'"id":"')[2].partition(b'"')[0].decode()
    while await reader.read(2**20):
        pass
    writer.close()
    before = process.resident_bytes()
    head = f"GET /v1/chat/completions/{run}?stream=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    streams = []
    for _ in range(count // 50):
        streams += await asyncio.gather(*(_open(process.port, head, window=4096) for _ in range(50)))
    await asyncio.gather(*(reader.readuntil(b"tok000") for reader, _ in streams))
    last, held = -1, process.resident_bytes() - before
    while held > last:
        last = held
        await asyncio.sleep(1)
        held = process.resident_bytes() - before
    for _, writer in streams:
        writer.close()
    return held / count / 1000


async def holding() -> None:
    """Print a row for each."""
    with processes.model() as model, processes.proxy(model.port) as proxy:
        for count in (1000, 3000, 9000):
            with processes.breezeway(model.port, [_QUIET, _LONG]) as (system, _):
                own = await idle(system, count)
            bare = await idle(proxy, count)
            print(f"{count} idle streams: {own:.0f} kB each, bare proxy {bare:.0f} kB", flush=True)
        with processes.breezeway(model.port, [_QUIET, _LONG]) as (system, _):
            print(f"1000 stalled readers of one run: {await stalled(system, 1000):.0f} kB each", flush=True)


if __name__ == "__main__":
    uvloop.run(holding())
