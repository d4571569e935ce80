"""The endpoints of one remote agent: which of them is connected and healthy, and whose turn it is."""

import asyncio
from collections.abc import Sequence

import grpc
from breezeway.v1 import agent_service_pb2
from grpc import ChannelConnectivity

from breezeway_server.agents.remote.channel import OpenChannel

_SERVICE = agent_service_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name


class Unreachable(Exception):
    """No endpoint is connected and healthy; `addresses` are those that were tried."""

    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__(", ".join(addresses))
        self.addresses = addresses


class Endpoint:
    """One address, and the two calls of AgentService there. Their messages are bytes on both sides.

    The caller decodes: what an agent sends may be no message at all, which grpc would hide behind a None.
    """

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.channel = channel
        self.run: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{_SERVICE}/Run")
        self.describe: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{_SERVICE}/Describe")

    @property
    def state(self) -> ChannelConnectivity:
        """READY where it is connected and healthy. Asking makes an idle one connect."""
        return self.channel.get_state(try_to_connect=True)


class Endpoints:
    """Keeps a channel to each address and gives them out in turn. Opens them at the first `pick`.

    A list of addresses of several kinds (names, numbers, unix sockets) is no target of one grpc channel, so each has
    its own, and the turn is kept here; behind one name, grpc's own round_robin keeps it.
    """

    def __init__(self, addresses: Sequence[str], open_channel: OpenChannel, *, connect_timeout: float) -> None:
        """`connect_timeout` is how long a pick waits for endpoints that are being connected, in seconds."""
        self._addresses = addresses
        self._open_channel = open_channel
        self._connect_timeout = connect_timeout
        self._endpoints: list[Endpoint] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._change = asyncio.Event()
        self._turn = -1

    async def pick(self, *, avoid: Endpoint | None = None) -> Endpoint:
        """The next endpoint that is connected and healthy, and another one than `avoid` where there is one.

        Raises `Unreachable` once all have failed, or when the connect timeout is over.
        """
        self._open()
        try:
            async with asyncio.timeout(self._connect_timeout):
                while not (ready := self._ready()):
                    await self._change.wait()
        except TimeoutError:
            raise Unreachable(self._addresses) from None
        self._turn += 1
        chosen = ready[self._turn % len(ready)]
        if chosen is avoid:
            self._turn += 1
            chosen = ready[self._turn % len(ready)]
        return chosen

    def _ready(self) -> list[Endpoint]:
        states = [endpoint.state for endpoint in self._endpoints]
        if all(state is ChannelConnectivity.TRANSIENT_FAILURE for state in states):
            raise Unreachable(self._addresses)
        pairs = zip(self._endpoints, states, strict=True)
        return [endpoint for endpoint, state in pairs if state is ChannelConnectivity.READY]

    def _open(self) -> None:
        if self._endpoints:
            return
        self._endpoints = [Endpoint(address, self._open_channel(address)) for address in self._addresses]
        # One watcher for the life of a channel: it keeps lost endpoints connecting, so that they are there when they
        # are back.
        self._watchers = [asyncio.create_task(self._watch(endpoint)) for endpoint in self._endpoints]

    async def _watch(self, endpoint: Endpoint) -> None:
        while True:
            state = endpoint.state
            self._change.set()
            self._change = asyncio.Event()
            await endpoint.channel.wait_for_state_change(state)

    async def close(self) -> None:
        """Close all channels. No call may be under way."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for endpoint in self._endpoints:
            await endpoint.channel.close()
        self._endpoints, self._watchers = [], []
