"""The crowd: clients of all wires, each with one run after the other."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

from tests.chaos.book import Book
from tests.chaos.collected import Collecting
from tests.chaos.native import Native
from tests.chaos.streams import Streaming
from tests.chaos.system import Chaotic
from tests.chaos.work import Work, draw

_WATCH_SECONDS = 0.5

Do = Callable[[Work], Awaitable[None]]


class Crowd:
    """Clients that ask until they are told to stop, and then see through what they asked for."""

    def __init__(self, book: Book, seed: str) -> None:
        self._book = book
        self._seed = seed
        self._enough = asyncio.Event()

    @asynccontextmanager
    async def busy(self, system: Chaotic, clients: int) -> AsyncGenerator[None, None]:
        """`clients` of each wire for the length of the block; returns once all of them are served."""
        ports = [proxy.port for proxy in system.http]
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for number in range(clients):
                random = Random(f"{self._seed}/{number}")  # noqa: S311 - to be had again is what it is for
                native = Native(system.grpc.port, self._book, random)
                streaming = Streaming(ports, self._book, random)
                collecting = Collecting(ports, self._book, random)
                for closing in (native, streaming, collecting):
                    stack.push_async_callback(closing.close)
                wires: dict[str, Do] = {
                    "grpc": native.stream,
                    "cancel": native.cancel,
                    "chat-stream": streaming.chat,
                    "responses-stream": streaming.response,
                    "chat": collecting.chat,
                    "responses": collecting.response,
                }
                for wire, do in wires.items():
                    tasks.create_task(self._work(f"{wire}-{number}", do), name=f"{wire}-{number}")
                tasks.create_task(self._watch(native, random), name=f"watch-{number}")
            try:
                yield
            finally:
                self._enough.set()

    async def _work(self, name: str, do: Do) -> None:
        random = Random(f"{self._seed}/{name}")  # noqa: S311 - likewise
        turn = 0
        while not self._enough.is_set():
            turn += 1
            await do(draw(random, f"{name}-{turn}"))

    async def _watch(self, native: Native, random: Random) -> None:
        while not self._enough.is_set():
            known = [asked for asked in self._book.asked[-30:] if asked.run_id and asked.events]
            if known:
                await native.watch(random.choice(known))
            await asyncio.sleep(_WATCH_SECONDS)
