"""Runs as a store sees them: what the log appends, without an engine."""

import hashlib
from collections.abc import Sequence

from breezeway.v1 import event_pb2, item_pb2, run_pb2
from breezeway_server.engine.admission import take_in
from breezeway_server.events.fold import RunFold
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.log_store import Append, NewRun
from breezeway_server.events.run_log import RunLog
from breezeway_server.store.base import ItemPage, Store

from tests.support.agents import said
from tests.support.logs import LogWriter

new_id = Uuid7()
NOW = 1_793_000_000_000_000_000
ALL = ItemPage(limit=1000, ascending=True)


class StoredRun:
    """One run: its events are put, and written to a store by `append`."""

    def __init__(
        self,
        tenant: str = "t",
        text: str = "hello",
        *,
        input_items: Sequence[item_pb2.Item] | None = None,
        request_id: str = "",
        created: int = NOW,
        **spec: object,
    ) -> None:
        self.tenant = tenant
        self.id = f"run_{new_id()}"
        self.spec = run_pb2.RunSpec(**spec)  # type: ignore[arg-type] # the fields of the message, by name
        self.spec.agent = self.spec.agent or "a"
        self.input = take_in([said(text)] if input_items is None else input_items, self.id, created)
        self.fold = RunFold(self.id, self.input)
        self.writer = LogWriter(self.id)
        # Positions go on behind those of the input.
        self.writer._items = len(self.input)
        self.writer.queued(self.spec)
        self._new: NewRun | None = NewRun(
            tenant=tenant,
            spec=self.spec,
            input=self.input,
            create_time_ns=created,
            request_id=request_id,
            request_hash=hashlib.sha256(text.encode()).digest() if request_id else b"",
        )
        self.log = RunLog(self.id, 1, logged=True)

    @property
    def events(self) -> list[event_pb2.RunEvent]:
        """All events so far."""
        return self.writer.events

    def take(self) -> Append:
        """What has been put since the last time."""
        for event in self.events[self.log.last :]:
            self.fold.apply(event)
            self.log.put(event, self.fold, self._new)
            self._new = None
        return self.log.take()

    def say(self, text: str) -> None:
        """A whole message."""
        item = self.writer.message()
        self.writer.text(item, text)
        self.writer.close(item)

    def run(self) -> run_pb2.Run:
        """What the log says of the run."""
        return self.fold.snapshot()


async def append(store: Store, *runs: StoredRun) -> None:
    """Write what the runs have put, in one transaction."""
    assert await store.append([run.take() for run in runs]) == frozenset()


async def begun(store: Store, *args: str, **kwargs: object) -> StoredRun:
    """A stored run that has begun."""
    run = StoredRun(*args, **kwargs)  # type: ignore[arg-type] # handed on
    run.writer.started()
    await append(store, run)
    return run


async def ended(store: Store, *args: str, answer: str = "world", **kwargs: object) -> StoredRun:
    """A stored run that has answered."""
    run = StoredRun(*args, **kwargs)  # type: ignore[arg-type] # handed on
    run.writer.started()
    run.say(answer)
    run.writer.completed(run_pb2.Usage(input_tokens=1, output_tokens=2, model_calls=1))
    await append(store, run)
    return run
