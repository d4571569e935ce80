"""The connection to the server, watched."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
from prometheus_client import Counter


@asynccontextmanager
async def count_reconnects(channel: grpc.aio.Channel, counter: Counter) -> AsyncGenerator[None, None]:
    """Count each time that the channel is connected, but for the first, for as long as the context lasts."""
    watching = asyncio.create_task(_watch(channel, counter), name="connection")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(channel: grpc.aio.Channel, counter: Counter) -> None:
    connected = False
    state = channel.get_state()
    while state is not grpc.ChannelConnectivity.SHUTDOWN:
        if state is grpc.ChannelConnectivity.READY:
            if connected:
                counter.inc()
            connected = True
        await channel.wait_for_state_change(state)
        state = channel.get_state()
