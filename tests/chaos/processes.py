"""Processes that can be killed, stopped and started again."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

_STOP_SECONDS = 30.0

Ready = Callable[[], Awaitable[None]]


class Process:
    """One process, which may be lost and started again any number of times. What it writes goes to a file."""

    def __init__(self, module: str, arguments: Sequence[str], environ: Mapping[str, str], output: Path, ready: Ready):
        """`ready` returns once what runs answers."""
        self._command = (sys.executable, "-m", module, *arguments)
        self._environ = environ
        self._output = output
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and return once it answers. Raises RuntimeError where it ends instead."""
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=dict(self._environ), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
            )
        ended = asyncio.create_task(self._process.wait())
        ready = asyncio.ensure_future(self._ready())
        await asyncio.wait({ended, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
            raise RuntimeError(f"{self._command} ended with {ended.result()}; {self._output} says why")
        # The kernel's word for its end is waited for by whoever ends it.
        ended.cancel()
        await ready

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL)

    async def terminate(self, times: int = 1) -> None:
        """SIGTERM, that often, and return once it has ended."""
        await self._end(*[signal.SIGTERM] * times)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after that time."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.returncode is None:
            await self._end(signal.SIGTERM)

    async def _end(self, *numbers: signal.Signals) -> None:
        process = self._process
        assert process is not None
        for number in numbers:
            if process.returncode is None:
                process.send_signal(number)
            # The second of two must not be merged with the first: signals that are pending are a set.
            await asyncio.sleep(0.05)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
