"""Runs of MEMORY durability after their end: readable for a while, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable

from breezeway_server.engine.live import LiveRun


class RetainedRuns:
    """The newest ended runs, by age and by size of their logs; what is dropped is forgotten for good."""

    def __init__(
        self,
        forget: Callable[[LiveRun], None],
        *,
        seconds: float,
        size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`size` is in bytes of events; `forget` is called with each run that is dropped."""
        self._forget = forget
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._held = 0
        self._runs: OrderedDict[str, tuple[float, int, LiveRun]] = OrderedDict()

    def add(self, run: LiveRun) -> None:
        """Hold a run that has ended, and drop those whose time is over or for which there is no room."""
        size = run.runner.log.size
        self._runs[run.run_id] = (self._clock(), size, run)
        self._held += size
        self.sweep()

    def discard(self, run_id: str) -> None:
        """Drop one run, if it is held."""
        found = self._runs.pop(run_id, None)
        if found is not None:
            self._held -= found[1]
            self._forget(found[2])

    def sweep(self) -> None:
        """Drop runs whose time is over or for which there is no room."""
        oldest = self._clock() - self._seconds
        while self._runs:
            run_id, (ended, _, _) = next(iter(self._runs.items()))
            if ended >= oldest and self._held <= self._size:
                return
            self.discard(run_id)
