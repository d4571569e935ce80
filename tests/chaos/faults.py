"""What goes wrong, when: drawn from a seed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from tests.chaos.system import Chaotic

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.3, 2.5


class Faults:
    """Breaks one thing after the other. `counts` tells what was broken how often, by its name."""

    def __init__(self, system: Chaotic, random: Random) -> None:
        self._system = system
        self._random = random
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "server killed": (4, self._kill_server),
            "server killed as it started": (1, self._kill_starting_server),
            "server drained": (2, lambda: self._drain_server(1)),
            "server drained by force": (1, lambda: self._drain_server(2)),
            "server frozen": (1, lambda: system.server.freeze(1.0)),
            "shim killed": (2, self._kill_shim),
            "shim frozen": (1, lambda: random.choice(system.shims).freeze(1.0)),
            "clients cut": (3, self._cut_clients),
            "readers stalled": (1, self._stall_readers),
            "shim cut from server": (2, self._cut_inner),
            "model cut": (1, self._cut_model),
        }

    async def run(self, seconds: float) -> None:
        """Break things for that time, and leave everything running."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        names = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        while (left := ends - loop.time()) > 0:
            await asyncio.sleep(min(left, self._random.uniform(_SHORTEST_PAUSE, _LONGEST_PAUSE)))
            (name,) = self._random.choices(names, weights)
            self.counts[name] += 1
            await self._kinds[name][1]()

    async def _kill_server(self) -> None:
        await self._system.server.kill()
        await asyncio.sleep(self._random.choice((0.0, 0.0, 1.0)))
        await self._system.server.start()

    async def _kill_starting_server(self) -> None:
        server = self._system.server
        await server.kill()
        starting = asyncio.create_task(server.start())
        await asyncio.sleep(self._random.uniform(0.5, 2.0))
        await server.kill()
        # It may have been there already, or have been lost on the way.
        await asyncio.gather(starting, return_exceptions=True)
        await server.start()

    async def _drain_server(self, times: int) -> None:
        await self._system.server.terminate(times)
        await self._system.server.start()

    async def _kill_shim(self) -> None:
        shim = self._random.choice(self._system.shims)
        await shim.kill()
        await shim.start()

    async def _stall_readers(self) -> None:
        await self._random.choice((self._system.grpc, *self._system.http)).stall(1.5)

    async def _cut_clients(self) -> None:
        for proxy in (self._system.grpc, *self._system.http):
            proxy.cut(self._random, 0.5)

    async def _cut_inner(self) -> None:
        self._system.inner.cut(self._random, 1.0)

    async def _cut_model(self) -> None:
        self._system.model.cut(self._random, 0.3)
