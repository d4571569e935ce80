"""The log of one run, as far as this process holds it."""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from breezeway.v1 import event_pb2, run_pb2

from breezeway_server.errors import Unavailable
from breezeway_server.events.fold import RunFold
from breezeway_server.events.framing import frame
from breezeway_server.events.legal import DELTA_KINDS, TERMINAL_KINDS
from breezeway_server.events.log_store import Append, NewRun

# What a reader who is far behind gets at once. It is also what one that stalls costs: gRPC holds a copy until it is
# taken, and a reader's own form of it, events and frames, is about fifteen times as large.
BATCH_BYTES = 16 * 1024


class Fenced(Unavailable):
    """Another attempt owns the run, or the run is gone: this attempt must stop without another word."""

    def __init__(self, run_id: str) -> None:
        super().__init__("RUN_NOT_HERE", f"{run_id} is not in the hands of this server any more; try again.", 1.0)


class RunLog:
    """One run's newest events, and who waits for more.

    Events above `visible` are not durable yet, and no reader sees them. Those below `first` are only in the store.
    """

    __slots__ = (
        "_bytes",
        "_frames",
        "_milestones",
        "_pending",
        "_state",
        "_waiters",
        "_watchers",
        "answered_at",
        "attempt",
        "awaited",
        "backlog",
        "began_after",
        "error",
        "first",
        "last",
        "logged",
        "over",
        "run_id",
        "visible",
    )

    def __init__(self, run_id: str, attempt: int, *, logged: bool, after: int = 0) -> None:
        """Begin behind event `after`, which is in the store with all before it."""
        self.run_id = run_id
        self.attempt = attempt
        self.logged = logged
        self.began_after = after
        self.first = after + 1
        self.last = after
        self.visible = after
        self.over = False
        self.answered_at = 0
        """The event with which the first item of this attempt began; 0 before that."""
        self.awaited = False
        """Whether somebody who reads each event waits for that."""
        self.error: Exception | None = None
        self.backlog = 0
        self._frames: list[bytes] = []
        self._milestones: list[int] = []
        self._bytes = 0
        self._pending: Append | None = None
        self._state: run_pb2.RunState.ValueType = run_pb2.RUN_STATE_UNSPECIFIED
        # A set, in the form that takes a third of the memory while it is empty.
        self._waiters: dict[asyncio.Future[None], None] = {}
        self._watchers: list[Callable[[], None]] = []

    @property
    def shown(self) -> int:
        """How many events this process has made visible."""
        return self.visible - self.began_after

    @property
    def size(self) -> int:
        """How many bytes of events this process holds."""
        return self._bytes

    def put(self, event: event_pb2.RunEvent, fold: RunFold, new: NewRun | None = None) -> bool:
        """Add the next event, which `fold` has taken in. Raises what the log failed with.

        Returns whether the log has just begun to hold something that is not durable: it is then due for `take`.
        """
        kind = event.WhichOneof("kind")
        self.over = self.over or (not self.logged and kind in TERMINAL_KINDS)
        if kind == "item_started" and not self.answered_at:
            self.answered_at = event.sequence
        if kind not in DELTA_KINDS:
            self._milestones.append(event.sequence)
        due = self.put_delta(event.sequence, frame(event))
        pending = self._pending
        if pending is None:
            return due
        if new is not None:
            pending.new = new
        if fold.state != self._state:
            self._state = pending.state = fold.state
        if kind == "item_completed":
            pending.items.append(event.item_completed.item)
        elif kind in TERMINAL_KINDS:
            pending.result = fold.head()
        return due

    def put_delta(self, sequence: int, encoded: bytes) -> bool:
        """Add the next event as a frame: a delta, which changes nothing but the log. Otherwise the same as `put`.

        Where it returns True, the caller tells `EventLog.due`.
        """
        if self.error is not None:
            raise self.error
        self.last = sequence
        self._frames.append(encoded)
        size = len(encoded)
        self._bytes += size
        if not self.logged:
            # The same as `_show`, without the calls: this is every token's way.
            self.visible = sequence
            if self._waiters:
                self._wake()
            else:
                for watcher in self._watchers:
                    watcher()
            return False
        self.backlog += size
        pending = self._pending
        due = pending is None
        if pending is None:
            pending = self._pending = Append(run_id=self.run_id, attempt=self.attempt, first=sequence)
        pending.frames.append(encoded)
        pending.last = sequence
        return due

    def await_answer(self) -> None:
        """Take note that somebody reads each event: the answer's beginning is then not held back for company."""
        self.awaited = self.logged and not self.answered_at

    def take(self) -> Append:
        """Hand over, to be made durable, what was put since the last time."""
        pending = self._pending
        assert pending is not None, "a log is taken from after it was due"
        self._pending = None
        return pending

    def publish(self, append: Append, keep: int) -> None:
        """Show what is durable now, and forget the oldest frames where there are more than `keep` bytes of them."""
        self.over = append.result is not None
        self.backlog -= sum(map(len, append.frames))
        if self._bytes > keep:
            self._forget(append.last, keep // 2)
        self._show(append.last)

    def fail(self, error: Exception) -> None:
        """End every reader and the writer of this log with `error`."""
        self.error = error
        self._wake()

    async def reach(self, sequence: int) -> None:
        """Wait until the event is visible. Raises what the log failed with."""
        while self.visible < sequence:
            await self.changed()

    async def changed(self) -> None:
        """Wait until more is visible. Raises what the log failed with."""
        if self.error is not None:
            raise self.error
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            # A reader that was cancelled leaves at once: a run may be quiet for days.
            self._waiters.pop(waiter, None)
        if self.error is not None:
            raise self.error

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` whenever more is visible or the log failed, until `unwatch`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.remove(watcher)

    def read(self, after: int, *, milestones: bool) -> tuple[int, bytes]:
        """Return visible events above `after`, joined, and the cursor behind them.

        `after` lies between `first` - 1 and `visible`. About `BATCH_BYTES` at most, but always one event if any;
        with `milestones`, deltas are left out and the bytes may be empty.
        """
        start, end = after + 1 - self.first, self.visible + 1 - self.first
        if self._bytes > BATCH_BYTES:
            size = 0
            for index in range(start, end):
                size += len(self._frames[index])
                if size > BATCH_BYTES:
                    end = index + 1
                    break
        last = self.first + end - 1
        if milestones:
            kept = self._milestones
            kept = kept[bisect_right(kept, after) : bisect_right(kept, last)]
            return last, b"".join([self._frames[sequence - self.first] for sequence in kept])
        return last, self._frames[start] if end - start == 1 else b"".join(self._frames[start:end])

    def _show(self, sequence: int) -> None:
        self.visible = sequence
        self._wake()

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, {}
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        for watcher in self._watchers:
            watcher()

    def _forget(self, durable: int, keep: int) -> None:
        drop = 0
        while self.first + drop <= durable and self._bytes > keep:
            self._bytes -= len(self._frames[drop])
            drop += 1
        del self._frames[:drop]
        self.first += drop
        del self._milestones[: bisect_left(self._milestones, self.first)]
