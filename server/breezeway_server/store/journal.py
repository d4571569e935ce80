"""The journal: events become durable in the order of time, those of many runs in one row.

Rows that belong to one run lie on pages that belong to it: a commit of one token for each of a hundred runs would write
a hundred pages, where a row of the journal takes three or four. What the journal's rows hold is held in memory too, and
is written out to the rows of its runs when it has grown, when its run ends, and before it is read (docs/adr/0011).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, select

from breezeway_server.events.framing import split
from breezeway_server.events.log_store import Append
from breezeway_server.events.run_log import BATCH_BYTES
from breezeway_server.store.schema import journal, runs

# As text, because SQLAlchemy's way through its own forms of each row costs twice what SQLite does with it.
_INSERT_EVENTS = "INSERT INTO events (run_id, first, last, frames) VALUES (?, ?, ?, ?)"
_INSERT_APPENDS = "INSERT INTO journal (appends) VALUES (?)"
_ENCODER = msgspec.msgpack.Encoder()
# A run's id, the sequence of the first event, and the frames of the events, joined.
_DECODER = msgspec.msgpack.Decoder(list[tuple[str, int, bytes]])


class Events(NamedTuple):
    """Events of one run: frames, from the event `first` on."""

    run_id: str
    first: int
    frames: list[bytes]


class Owned(msgspec.Struct):
    """A run that is written to: whose it is, and where its durable events end.

    `frames` are those of its newest events that it has in rows of the journal alone.
    """

    tenant: str
    conversation_id: str | None
    attempt: int
    last: int
    frames: list[bytes] = []

    @property
    def held_from(self) -> int:
        """The sequence of the first of `frames`."""
        return self.last - len(self.frames) + 1


class Written(NamedTuple):
    """What a transaction appends, each with its run as it was before; and the ids of runs that it did not write to."""

    appends: Sequence[tuple[Append, Owned]]
    fenced: frozenset[str]


class Journal:
    """The runs under way that this process wrote to, and what of them is in the journal's rows alone.

    The writer's thread alone changes it, each time after the transaction that it tells of; any may ask `holds`.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Owned] = {}
        self._holding: set[str] = set()
        self.size = 0
        """How many bytes of events are held."""

    def get(self, run_id: str) -> Owned | None:
        """Return a run that is known here."""
        return self._runs.get(run_id)

    def holds(self, run_id: str) -> bool:
        """Return whether the run has events in the journal's rows alone."""
        return run_id in self._holding

    def is_emptied_by(self, written: Written) -> bool:
        """Return whether nothing of the journal's rows is needed any more once this is written."""
        ended = {append.run_id for append, _ in written.appends if append.result is not None}
        return bool(self._holding) and len(ended) == len(written.appends) and self._holding <= ended

    def wrote(self, written: Written) -> None:
        """Take in what was appended."""
        for append, run in written.appends:
            if append.result is not None:
                self.forget(append.run_id)
                continue
            self._runs[append.run_id] = run
            self._holding.add(append.run_id)
            run.last = append.last
            run.frames += append.frames
            self.size += sum(map(len, append.frames))

    def write_out(self, connection: Connection) -> None:
        """Give all that is held to the rows of its runs; `wrote_out` is due once that is committed."""
        held = [(run_id, self._runs[run_id]) for run_id in self._holding]
        write_events(connection, [Events(run_id, run.held_from, run.frames) for run_id, run in held])
        clear(connection)

    def wrote_out(self) -> None:
        """Hold nothing any more."""
        for run_id in self._holding:
            self._runs[run_id].frames = []
        self._holding.clear()
        self.size = 0

    def claimed(self, run_id: str, attempt: int) -> None:
        """Take note of whose the run is now."""
        if (run := self._runs.get(run_id)) is not None:
            run.attempt = attempt

    def forget(self, run_id: str) -> None:
        """Know nothing of a run that is over or gone."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            self._holding.discard(run_id)
            self.size -= sum(map(len, run.frames))


def write(connection: Connection, appends: Iterable[Append]) -> None:
    """Write the events of many runs as one row."""
    row = _ENCODER.encode([(append.run_id, append.first, b"".join(append.frames)) for append in appends])
    connection.exec_driver_sql(_INSERT_APPENDS, (row,))


def write_events(connection: Connection, events: Iterable[Events]) -> None:
    """Write events to the rows of their runs."""
    rows = [row for each in events for row in _rows(each)]
    if rows:
        connection.exec_driver_sql(_INSERT_EVENTS, rows)


def clear(connection: Connection) -> None:
    """Delete the journal's rows."""
    connection.execute(delete(journal))


def recover(connection: Connection) -> None:
    """Write out what a process that was lost had in the journal's rows alone."""
    held: dict[str, Events] = {}
    for appends in connection.scalars(select(journal.c.appends).order_by(journal.c.id)):
        for run_id, first, joined in _DECODER.decode(appends):
            held.setdefault(run_id, Events(run_id, first, [])).frames.extend(split(joined))
    if held:
        # Those that are over had all of their events written out, and may have been told to forget them since.
        under_way = set(connection.scalars(select(runs.c.id).where(runs.c.end_time_ns.is_(None))))
        write_events(connection, [events for run_id, events in held.items() if run_id in under_way])
        clear(connection)


def _rows(events: Events) -> Iterator[tuple[object, ...]]:
    # A row is read as a whole, so what is much is cut into several: readers that stall hold one each.
    start, size = 0, 0
    for end, frame in enumerate(events.frames):
        if size and size + len(frame) > BATCH_BYTES:
            yield _row(events, start, end)
            start, size = end, 0
        size += len(frame)
    yield _row(events, start, len(events.frames))


def _row(events: Events, start: int, end: int) -> tuple[object, ...]:
    return events.run_id, events.first + start, events.first + end - 1, b"".join(events.frames[start:end])
