"""A store of logs in memory that tests can hold up, break and look into; and runs that write to a log."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from breezeway.v1 import event_pb2, run_pb2
from breezeway_server.errors import CursorExpired, Unavailable
from breezeway_server.events.fold import RunFold
from breezeway_server.events.framing import decode
from breezeway_server.events.log import EventLog
from breezeway_server.events.log_store import Append, NewRun, StoredFrames

from tests.support.logs import LogWriter


class FakeLogStore:
    """Keeps what is appended, one batch a group. `open` lets appends pass; `faults` is how often they fail first."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.arrived = asyncio.Event()
        self.faults = 0
        self.tries = 0
        self.fenced: set[str] = set()
        self.groups: list[list[Append]] = []
        self.kept: dict[str, list[StoredFrames]] = {}
        self.reads: list[tuple[str, int]] = []

    async def append(self, appends: Sequence[Append]) -> frozenset[str]:
        self.arrived.set()
        await self.open.wait()
        self.tries += 1
        if self.faults > 0:
            self.faults -= 1
            raise Unavailable("STORE_UNAVAILABLE", "down", 1.0)
        self.groups.append(list(appends))
        for each in appends:
            if each.run_id not in self.fenced:
                batch = StoredFrames(each.first, each.last, b"".join(each.frames))
                self.kept.setdefault(each.run_id, []).append(batch)
        return frozenset(each.run_id for each in appends if each.run_id in self.fenced)

    async def read_events(self, run_id: str, after: int, limit: int) -> list[StoredFrames]:
        self.reads.append((run_id, after))
        found: list[StoredFrames] = []
        for batch in self.kept.get(run_id, []):
            if batch.last > after and sum(len(each.frames) for each in found) < limit:
                found.append(batch)
        if found and found[0].first > after + 1:
            raise CursorExpired(run_id, after)
        return found


class Writing:
    """One run that writes legal events to a log."""

    def __init__(self, log: EventLog, run_id: str, *, logged: bool = True) -> None:
        self.log = log
        self.run_id = run_id
        self.run_log = log.open(run_id, 1, logged=logged)
        self.fold = RunFold(run_id)
        self._writer = LogWriter(run_id)
        self._put = 0
        self._message = ""

    @property
    def events(self) -> list[event_pb2.RunEvent]:
        """All events so far."""
        return self._writer.events

    def begin(self) -> None:
        """Put RunQueued, RunStarted and the beginning of a message."""
        self._writer.queued(run_pb2.RunSpec(agent="a"))
        self._writer.started()
        self._message = self._writer.message()
        self.put()

    def say(self, text: str) -> None:
        """Put one delta."""
        self._writer.text(self._message, text)
        self.put()

    def end(self) -> None:
        """Put the end of the message, and of the run."""
        self._writer.completed(run_pb2.Usage())
        self.put()

    def put(self) -> None:
        for event in self.events[self._put :]:
            new = None
            if event.sequence == 1:
                new = NewRun(tenant="t", spec=event.run_queued.spec, input=(), create_time_ns=1)
            self.fold.apply(event)
            self.log.put(self.run_log, event, self.fold, new)
        self._put = len(self.events)


async def read(batches: AsyncIterator[bytes]) -> list[event_pb2.RunEvent]:
    """All events of a follower, to its end."""
    return [event async for frames in batches for event in decode(frames)]
