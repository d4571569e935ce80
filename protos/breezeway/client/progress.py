"""How far a stream has come, and whether and when it goes on after it was lost: no I/O, no clock."""

from collections.abc import Callable

import grpc
from breezeway.client.errors import BreezewayError, error_of, lost
from breezeway.v1 import event_pb2

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
# The channel gives up an attempt to connect long before this, so a call that was open for longer was connected.
_CONNECTED_SECONDS = 5.0
_TERMINAL = frozenset({"run_completed", "run_incomplete", "run_failed", "run_cancelled"})


class Progress:
    """A reader's place in a run. `run_id` is empty until the run is known; a lost server is waited for `patience` s.

    `on_lost` is called each time that the waiting begins.
    """

    def __init__(self, run_id: str, after: int, patience: float, on_lost: Callable[[], None] | None = None) -> None:
        self.run_id = run_id
        self.sequence = after
        self._patience = patience
        self._on_lost = on_lost
        self._lost_at: float | None = None
        self._pause = _FIRST_PAUSE
        self._opened_at = 0.0
        self._newest: event_pb2.RunEvent | None = None

    def opens(self, now: float) -> None:
        """Take note that a call is made."""
        self._opened_at = now

    def took(self, event: event_pb2.RunEvent) -> None:
        """Take note of the next event: the server is there."""
        self.run_id, self.sequence = event.run_id, event.sequence
        self._newest = event
        self._lost_at, self._pause = None, _FIRST_PAUSE

    def ended(self) -> None:
        """Raise `BreezewayError` where a stream that ended well has not told the run's end."""
        # Who had everything gets nothing, and that is whole.
        if self._newest is not None and self._newest.WhichOneof("kind") not in _TERMINAL:
            raise BreezewayError(grpc.StatusCode.DATA_LOSS, "The stream ended before the run did.")

    def pause_after(self, failed: grpc.RpcError, now: float) -> float:
        """How many seconds to wait before the next try. Raises `BreezewayError` where there is to be none."""
        error = error_of(failed)
        if now - self._opened_at > _CONNECTED_SECONDS:
            self._lost_at, self._pause = None, _FIRST_PAUSE
        newly = self._lost_at is None
        if self._lost_at is None:
            self._lost_at = now
        left = self._lost_at + self._patience - now
        if not lost(failed) or left <= 0:
            raise error from failed
        if newly and self._on_lost is not None:
            self._on_lost()
        pause, self._pause = min(self._pause, left), min(self._pause * 2, _LONGEST_PAUSE)
        return pause
