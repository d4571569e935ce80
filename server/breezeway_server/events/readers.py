"""The readers of logs, for whoever wants to know how many there are and how far behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from breezeway_server.events.run_log import RunLog


class Reader(Protocol):
    """A cursor: the sequence of the last event that was handed on, and the log where it is in memory."""

    @property
    def cursor(self) -> int:
        """Where it is."""

    @property
    def log(self) -> RunLog | None:
        """What it reads, as far as that is here."""


class Place:
    """A `Reader` that somebody moves."""

    __slots__ = ("cursor", "log")

    def __init__(self, cursor: int, log: RunLog | None) -> None:
        self.cursor = cursor
        self.log = log


R = TypeVar("R", bound=Reader)


class Readers:
    """Those that follow runs at present. A reader notes its cursor once a batch; nothing else is done for it."""

    def __init__(self) -> None:
        self._readers: set[Reader] = set()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._readers)

    def add(self, reader: Reader) -> None:
        """Count a reader, until `discard`."""
        self._readers.add(reader)

    def discard(self, reader: Reader) -> None:
        """Count it no more."""
        self._readers.discard(reader)

    @contextmanager
    def reading(self, reader: R) -> Iterator[R]:
        """Count a reader for the length of the block."""
        self.add(reader)
        try:
            yield reader
        finally:
            self.discard(reader)

    @property
    def largest_lag(self) -> int:
        """How many visible events the reader who is farthest behind has yet to get, of those whose run is here."""
        return max((each.log.visible - each.cursor for each in self._readers if each.log is not None), default=0)
