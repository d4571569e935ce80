"""What is asked of the call that all runs share."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from breezeway.v1.stream_service_pb2 import MultiplexRunsRequest, StreamRunRequest
from breezeway_shim.multiplexing import Multiplexer
from breezeway_shim.shortcut import Shortcut


class SilentCall:
    """A call that keeps what is written to it, and never answers."""

    def __init__(self) -> None:
        self.written: asyncio.Queue[MultiplexRunsRequest] = asyncio.Queue()

    async def write(self, request: MultiplexRunsRequest) -> None:
        """Keep it."""
        self.written.put_nowait(request)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._never()

    async def _never(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield

    def cancel(self) -> None:
        """See grpc.aio.Call."""


async def test_runs_that_come_in_one_right_after_the_other_are_asked_for_in_one_message() -> None:
    call = SilentCall()
    multiplexer = Multiplexer(cast("Any", lambda: call))

    def start() -> None:
        multiplexer.start(StreamRunRequest(), (("authorization", "Bearer key"),), Shortcut())

    try:
        start()
        first = await call.written.get()
        start()
        asyncio.get_running_loop().call_soon(start)
        both = await call.written.get()
        assert [start.tag for start in first.starts] == [1]
        assert [start.tag for start in both.starts] == [2, 3]
        assert dict(both.starts[1].metadata) == {"authorization": "Bearer key"}
    finally:
        await multiplexer.close()
