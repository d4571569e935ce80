"""The book: what clients asked for, what they saw, and which promises did not hold."""

from dataclasses import dataclass, field
from enum import Enum

from breezeway.v1 import event_pb2

Json = dict[str, object]


class Broken(Enum):
    """How a promise was broken."""

    LOST = "lost"
    """An event or a run that somebody had seen was not there, or was another."""
    DUPLICATED = "duplicated"
    """An event came twice, or one request made two runs."""
    UNFINISHED = "unfinished"
    """A run that was accepted did not end."""
    WRONG = "wrong"
    """Anything else: a text, an end, an order, an error that should not have been."""


@dataclass
class Asked:
    """One request, with the key that tells its run apart, and what its client saw of the run."""

    key: str
    wire: str
    agent: str
    words: int
    run_id: str = ""
    events: dict[int, bytes] = field(default_factory=dict)
    """By sequence, as they were encoded."""
    frames: list[bytes] = field(default_factory=list)
    """Of an SSE stream: the frames but for their ids and comments."""
    answer: Json | None = None
    """Of a call that does not stream: the object."""
    status: int = 0
    """The HTTP status that ended it without a stream."""
    cancelled_at: int = 0
    """The last sequence of the run when cancelling it had settled; 0 where nobody did."""


class Book:
    """All requests of all clients."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.resumes = 0
        self.faults: list[tuple[Broken, str]] = []

    def ask(self, wire: str, key: str, agent: str, words: int) -> Asked:
        """Enter a request before it is sent."""
        asked = Asked(key, wire, agent, words)
        self.asked.append(asked)
        return asked

    def blame(self, how: Broken, what: str) -> None:
        """Enter a broken promise."""
        self.faults.append((how, what))

    def count(self, how: Broken) -> int:
        """How many promises were broken that way."""
        return sum(kind is how for kind, _ in self.faults)

    def see(self, asked: Asked, event: event_pb2.RunEvent) -> None:
        """Enter an event that came behind all that this client has of the run."""
        asked.run_id = asked.run_id or event.run_id
        last = max(asked.events, default=0)
        if event.run_id != asked.run_id:
            self.blame(Broken.DUPLICATED, f"{asked.key}: {event.run_id} beside {asked.run_id}")
        elif event.sequence <= last:
            self.blame(Broken.DUPLICATED, f"{asked.key}: event {event.sequence} came after {last}")
        elif event.sequence > last + 1:
            self.blame(Broken.LOST, f"{asked.key}: event {event.sequence} came after {last}")
        asked.events[event.sequence] = encoded(event)


def encoded(event: event_pb2.RunEvent) -> bytes:
    """An event in the form in which two are compared."""
    return event.SerializeToString(deterministic=True)
