"""Deadlines of one model call, without a timer per chunk."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from breezeway_server.agents.llm.errors import UpstreamError, timed_out


class Timeouts(NamedTuple):
    """How long a model call may take, in seconds.

    `first_token`: from the request to the first piece of the answer. `idle`: between two chunks after that. `total`:
    over everything, retries included.
    """

    connect: float = 10.0
    first_token: float = 120.0
    idle: float = 60.0
    total: float = 900.0


class ReadDeadline:
    """Watches the waits for chunks of one response and calls `expire` with the error of the first that is too long.

    Keeping a wait costs the reader two assignments. One timer sleeps until the earliest moment at which a wait could be
    over and, where chunks came meanwhile, sleeps again. Time that the reader spends elsewhere is not the upstream's.
    """

    __slots__ = (
        "_answering",
        "_expire",
        "_loop",
        "_model",
        "_started",
        "_timeouts",
        "_timer",
        "_total_until",
        "waiting_since",
    )

    def __init__(
        self,
        model: str,
        timeouts: Timeouts,
        *,
        started: float,
        total_until: float,
        expire: Callable[[UpstreamError], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._model = model
        self._timeouts = timeouts
        self._started = started
        self._total_until = total_until
        self._expire = expire
        self.waiting_since: float | None = None
        """Since when the reader waits for a chunk, in the loop's time; None while it is busy. The reader keeps it."""
        self._answering = False
        self._timer = self._sleep(started + timeouts.first_token, started)

    def answering(self) -> None:
        """The first piece of the answer came: from here on the idle time counts."""
        self._answering = True

    def close(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if self.waiting_since is None:
            # The reader is busy with what came. Whether the upstream is slow will show when it waits again.
            self._timer = self._loop.call_at(now + min(1.0, self._timeouts.idle), self._look)
            return
        first_until = self._started + self._timeouts.first_token
        until = self.waiting_since + self._timeouts.idle if self._answering else first_until
        # A timer may fire a clock tick early; what is due within a millisecond is due.
        if now >= self._total_until - 0.001:
            self._expire(timed_out(self._model, "no whole answer", self._timeouts.total))
        elif now >= until - 0.001:
            what = "no further piece of its answer" if self._answering else "no first piece of its answer"
            seconds = self._timeouts.idle if self._answering else self._timeouts.first_token
            self._expire(timed_out(self._model, what, seconds))
        else:
            self._timer = self._sleep(until, now)

    def _sleep(self, until: float, now: float) -> asyncio.TimerHandle:
        # Not longer than the idle time: from whenever the answer begins, that is over no sooner.
        return self._loop.call_at(min(until, now + self._timeouts.idle, self._total_until), self._look)
