"""A TCP proxy whose connections can be cut and stalled, as a network between would."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Self

_CHUNK = 64 * 1024


class Proxy:
    """Forwards what comes to `port` on 127.0.0.1 to another port there."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def serving(cls, target: int) -> AsyncGenerator[Self, None]:
        """A proxy for the length of the block."""
        proxy = cls(target)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            for task in list(proxy._open):
                task.cancel()
            await asyncio.gather(*proxy._open, return_exceptions=True)

    def cut(self, random: Random, share: float) -> int:
        """Reset about that share of the connections; return how many it was."""
        chosen = [writers for writers in self._open.values() if random.random() < share]
        for writers in chosen:
            for writer in writers:
                writer.transport.abort()
        return len(chosen)

    async def stall(self, seconds: float) -> None:
        """Let nothing through for that time."""
        self._flowing.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._open[task] = (writer,)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._open[task] = (writer, far_writer)
            # However one direction ends, both are over: HTTP and gRPC close a connection as a whole.
            pumps = [
                asyncio.ensure_future(self._pump(reader, far_writer)),
                asyncio.ensure_future(self._pump(far_reader, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # Nobody listens there just now; the client sees its connection closed.
        finally:
            del self._open[task]
            writer.close()
            if far_writer is not None:
                far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
