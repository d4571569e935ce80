"""The shorter way of a run's events to a client that keeps up: from where they come in straight to its socket."""

from collections.abc import Callable, Sequence

from breezeway.v1 import event_pb2

Events = Sequence[event_pb2.RunEvent]


class Shortcut:
    """What a reader offers while it waits for more: a function that deals with a batch at once.

    To wake a task for each token of each stream, with all the generators that it consists of, costs about as much as
    the token itself. The way through the task stays, for the beginning, for the end, and for a client that is slow.
    """

    __slots__ = ("_deliver", "newest")

    def __init__(self) -> None:
        self._deliver: Callable[[Events], bool] | None = None
        self.newest: Events = ()
        """The last batch that came, whichever way. It holds the message that it came in, so nothing else should."""

    def open(self, deliver: Callable[[Events], bool]) -> None:
        """Offer `deliver`, which takes a batch or returns False, and then has done nothing with it."""
        self._deliver = deliver

    def offer(self, events: Events) -> bool:
        """Deliver a batch; False where it has to go through the reader. Only for a reader that waits."""
        if self._deliver is None or not self._deliver(events):
            return False
        self.newest = events
        return True
