"""The log of all runs: events become durable in groups, and then visible to every reader at once.

There is no queue for each reader: a reader is a cursor, a sequence in a list of frames that all readers share. One
that is slow costs nothing, and one that wakes up gets everything that has piled up.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

import structlog
from breezeway.v1 import event_pb2

from breezeway_server.errors import Unavailable
from breezeway_server.events.fold import RunFold
from breezeway_server.events.framing import decode, split
from breezeway_server.events.gathering import Gathering
from breezeway_server.events.legal import DELTA_KINDS, TERMINAL_KINDS
from breezeway_server.events.log_store import Append, LogStore, NewRun, StoredFrames
from breezeway_server.events.metrics import LogMetrics
from breezeway_server.events.readers import Place, Readers
from breezeway_server.events.run_log import BATCH_BYTES, Fenced, RunLog

_logger = structlog.get_logger()

# What a log keeps in memory of events that the store has: enough for readers a few seconds behind.
_KEEP_BYTES = 1024 * 1024
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class EventLog:
    """All logs of this process over one store. `write` must run for logged events to become durable."""

    def __init__(self, store: LogStore, *, patience: float, metrics: LogMetrics | None = None) -> None:
        """`patience` is for how many seconds a store that cannot write is tried again before runs are given up."""
        self._store = store
        self._metrics = metrics or LogMetrics()
        self._shown = 0
        self.readers = Readers()
        self.last_commit: float | None = None
        """When events were last made durable, in seconds of the monotonic clock."""
        self.failing = False
        """Whether the store could not write the last time."""
        self._patience = patience
        self._logs: dict[str, RunLog] = {}
        self._due: list[RunLog] = []
        self._wake = asyncio.Event()
        self._gathering = Gathering(time.monotonic)

    def open(self, run_id: str, attempt: int, *, logged: bool, after: int = 0) -> RunLog:
        """Begin to hold a run's log, behind event `after`; `close` ends that."""
        log = self._logs[run_id] = RunLog(run_id, attempt, logged=logged, after=after)
        return log

    def close(self, log: RunLog) -> None:
        """Forget a log. Readers that follow it go on to its end; later ones find it in the store or not at all."""
        if self._logs.get(log.run_id) is log:
            del self._logs[log.run_id]
            self._shown += log.shown

    @property
    def shown(self) -> int:
        """How many events this process has made visible."""
        return self._shown + sum(log.shown for log in self._logs.values())

    @property
    def backlog(self) -> int:
        """How many bytes of events are not durable yet."""
        return sum(log.backlog for log in self._logs.values())

    def put(self, log: RunLog, event: event_pb2.RunEvent, fold: RunFold, new: NewRun | None = None) -> None:
        """Add a run's next event, which `fold` has taken in. It is not visible before it is durable."""
        if log.put(event, fold, new):
            self.due(log)
        if log.awaited and log.answered_at:
            log.awaited = False
            self._gathering.hurry()

    def due(self, log: RunLog) -> None:
        """Take note that a log holds something that is not durable; see `RunLog.put_delta`."""
        self._due.append(log)
        self._wake.set()

    async def write(self) -> None:
        """Make events durable until cancelled: all that is pending of all runs in one transaction.

        While one transaction is under way the next group gathers. A lone event does not wait, and neither does the
        first one of an answer that somebody reads as it comes.
        """
        while True:
            await self._wake.wait()
            await self._gathering.company()
            self._wake.clear()
            await self._write_group()

    async def flush(self) -> None:
        """Wait until everything that was put is durable or given up. `write` must be running."""
        for log in list(self._logs.values()):
            if log.logged and log.error is None:
                await log.reach(log.last)

    async def _write_group(self) -> None:
        logs, self._due = self._due, []
        appends = [log.take() for log in logs]
        try:
            fenced = await self._append(appends)
        except Unavailable as error:
            _logger.exception("store_gave_up", runs=len(logs))
            for log in logs:
                if log.error is None:
                    self._metrics.events_lost.inc(log.last - log.visible)
                log.fail(error)
            return
        events = sum(len(append.frames) for append in appends)
        self._gathering.sent(events)
        self._metrics.commit_events.observe(events)
        for log, append in zip(logs, appends, strict=True):
            if log.run_id in fenced:
                log.fail(Fenced(log.run_id))
            else:
                log.publish(append, _KEEP_BYTES)

    async def _append(self, appends: list[Append]) -> frozenset[str]:
        pause, waited = _FIRST_PAUSE, 0.0
        while True:
            try:
                began = time.monotonic()
                fenced = await self._store.append(appends)
            except Unavailable:
                self.failing = True
                self._metrics.store_errors.inc()
                if waited >= self._patience:
                    raise
                _logger.warning("store_unavailable", runs=len(appends), retry_in=pause)
            else:
                self.failing = False
                self.last_commit = time.monotonic()
                self._metrics.commit_seconds.observe(self.last_commit - began)
                self._metrics.commits.inc()
                return fenced
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def follow(self, run_id: str, *, after: int = 0, milestones: bool = False) -> AsyncGenerator[bytes, None]:
        """Yield the run's events above `after` as joined frames, then each new batch once durable.

        Ends with the terminal event, which must lie above `after`. With `milestones`, deltas are left out. Raises
        `CursorExpired` when events above `after` are no longer kept, and `Unavailable` when the log cannot go on; the
        reader then has everything up to its cursor and may come back with it.
        """
        cursor, over = after, False
        log = self._logs.get(run_id)
        if log is not None and not milestones:
            log.await_answer()
        with self.readers.reading(Place(cursor, log)) as place:
            while not over:
                if log is None or cursor + 1 < log.first:
                    batch, cursor, over = await self._stored(run_id, cursor, milestones=milestones)
                    log = place.log = log or self._logs.get(run_id)
                elif cursor < log.visible:
                    cursor, batch = log.read(cursor, milestones=milestones)
                    over = log.over and cursor == log.visible
                else:
                    await log.changed()
                    continue
                if batch:
                    yield batch
                place.cursor = cursor

    async def _stored(self, run_id: str, cursor: int, *, milestones: bool) -> tuple[bytes, int, bool]:
        """Return what the store has next, the cursor behind it, and whether the terminal event is in it.

        Apart from `follow`, so that a reader who stalls holds on to one batch and not to what it was made from.
        """
        stored = await self._store.read_events(run_id, cursor, BATCH_BYTES)
        if not stored:
            raise Unavailable("RUN_NOT_HERE", f"{run_id} is not in the hands of this server; try again.", 1.0)
        batch, over = _after(stored, cursor, milestones=milestones)
        return batch, stored[-1].last, over


def _after(stored: Sequence[StoredFrames], cursor: int, *, milestones: bool) -> tuple[bytes, bool]:
    """Return what of stored batches lies above a cursor, joined, and whether the terminal event is in it."""
    frames = b"".join(batch.frames for batch in stored)
    events = decode(frames)
    over = events[-1].WhichOneof("kind") in TERMINAL_KINDS
    if not milestones and stored[0].first == cursor + 1:
        return frames, over
    return b"".join(
        frame
        for frame, event in zip(split(frames), events, strict=True)
        if event.sequence > cursor and not (milestones and event.WhichOneof("kind") in DELTA_KINDS)
    ), over
