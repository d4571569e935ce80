"""What a stream holds on to while it waits for more of its run."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

from breezeway.v1 import event_pb2
from breezeway.v1.stream_service_pb2 import FollowRunResponse
from breezeway_shim.reconnecting import Beginning, CallMetadata, EventCall, Patience, follow_through
from breezeway_shim.shortcut import Shortcut


class QuietCall:
    """A call that brings one event, and then nothing for ever."""

    async def __aiter__(self) -> AsyncIterator[FollowRunResponse]:
        yield FollowRunResponse(events=[event_pb2.RunEvent(sequence=1)])
        await asyncio.Event().wait()

    async def initial_metadata(self) -> CallMetadata:
        return None

    def cancel(self) -> bool:
        return True


class Asking:
    """Stands for a request that may be as long as a book."""

    def call(self) -> EventCall:
        return QuietCall()


def nowhere(run_id: str, after: int) -> EventCall:
    raise AssertionError("nothing was lost")


async def leave(run_id: str) -> None:
    raise AssertionError("nothing was lost")


async def test_what_a_run_was_begun_with_is_let_go_of_once_its_events_come() -> None:
    asking = Asking()
    known = weakref.ref(asking)
    batches = follow_through(
        Beginning(asking.call, lambda _: True, str),
        nowhere,
        Patience(1, asyncio.Event()),
        leave=leave,
        begun=lambda _: None,
        shortcut=Shortcut(),
    )
    del asking
    assert [event.sequence for event in await anext(batches)] == [1]
    assert known() is not None
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    gc.collect()
    assert known() is None
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await batches.aclose()
