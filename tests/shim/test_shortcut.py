"""The shorter way of events past a reader that waits: in order, once, and never at the expense of others."""

import asyncio
from collections.abc import Sequence

import pytest
from breezeway.v1 import event_pb2
from breezeway.v1.stream_service_pb2 import MultiplexBatch
from breezeway_shim.multiplexing import MultiplexedRun
from breezeway_shim.shortcut import Shortcut


class Stops:
    """What of a multiplexer its runs use: who was stopped, and whether as one whose client left."""

    def __init__(self) -> None:
        self.stopped: list[tuple[int, bool]] = []

    def stop(self, tag: int, *, disconnected: bool) -> None:
        self.stopped.append((tag, disconnected))


def batch(*sequences: int) -> MultiplexBatch:
    return MultiplexBatch(tag=1, events=[event_pb2.RunEvent(sequence=sequence) for sequence in sequences])


class Reader:
    """A run with a shortcut, and a task that reads what does not go by it; `seen` has both ways in their order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.keeps_up = True
        self.stops = Stops()
        self.shortcut = Shortcut()
        self.run = MultiplexedRun(self.stops, 1, self.shortcut)  # type: ignore[arg-type]  # all that it uses
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for ready in self.run:
            self.seen += [("read", event.sequence) for event in ready.events]
            self.shortcut.open(self._deliver)

    def _deliver(self, events: Sequence[event_pb2.RunEvent]) -> bool:
        if self.keeps_up:
            self.seen += [("direct", event.sequence) for event in events]
        return self.keeps_up

    async def wait(self) -> None:
        """Let the task run until it waits: nothing else would wake it."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_events_go_past_a_reader_that_waits_and_through_one_that_has_not_begun() -> None:
    reader = Reader()
    await reader.wait()
    reader.run.take(batch(1, 2))
    await reader.wait()
    reader.run.take(batch(3))
    reader.run.take(batch(4, 5))
    assert reader.seen == [("read", 1), ("read", 2), ("direct", 3), ("direct", 4), ("direct", 5)]
    assert [event.sequence for event in reader.shortcut.newest] == [4, 5]
    reader.run.end(None)
    await reader.task


async def test_what_is_not_taken_goes_through_the_reader_and_nothing_overtakes_it() -> None:
    reader = Reader()
    await reader.wait()
    reader.run.take(batch(1))
    await reader.wait()
    reader.keeps_up = False
    reader.run.take(batch(2))
    reader.keeps_up = True
    # The reader has not got the second yet, so the third must not go past it.
    reader.run.take(batch(3))
    await reader.wait()
    reader.run.take(batch(4))
    assert reader.seen == [("read", 1), ("read", 2), ("read", 3), ("direct", 4)]
    reader.run.end(None)
    await reader.task


async def test_a_fault_on_the_short_way_is_raised_where_its_reader_is() -> None:
    reader = Reader()
    await reader.wait()
    reader.run.take(batch(1))
    await reader.wait()

    def fail(events: Sequence[event_pb2.RunEvent]) -> bool:
        raise LookupError("a projection that cannot be")

    reader.shortcut.open(fail)
    assert not reader.run.take(batch(2)), "nothing more is wanted for it"
    with pytest.raises(LookupError, match="cannot be"):
        await reader.task
    assert reader.stops.stopped == [(1, True)], "the server is told, as of a client that left"
    assert reader.seen == [("read", 1)]
