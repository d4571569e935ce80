"""A real server in this process, on an address that stays the same over restarts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from breezeway_server.agents.base import Agent
from breezeway_server.services.transport import PLAIN, Transport

from tests.support.server import Stack, running, serving
from tests.support.system import ReservedPort


class Host:
    """Serves agents over the store in a directory. Made by `serving`."""

    def __init__(self, directory: Path, agents: Sequence[Agent], port: int, transport: Transport) -> None:
        self._directory = directory
        self._agents = agents
        self._transport = transport
        self.port = port
        self.target = f"127.0.0.1:{port}"
        self._exits = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def serving(cls, directory: Path, *agents: Agent, transport: Transport = PLAIN) -> AsyncIterator[Self]:
        """A host that serves, for the length of the block."""
        with ReservedPort.reserved() as port:
            host = cls(directory, agents, port.number, transport)
            await host.start()
            try:
                yield host
            finally:
                await host.stop()

    async def start(self) -> None:
        """Serve, and take up the runs that an earlier server left."""
        self.stack: Stack = await self._exits.enter_async_context(running(self._directory, *self._agents))
        await self._exits.enter_async_context(serving(self.stack, address=self.target, transport=self._transport))

    async def stop(self) -> None:
        """Serve no longer."""
        await self._exits.aclose()

    async def crash(self) -> None:
        """End as a killed server does."""
        await self.stack.crash()
        await self.stop()
