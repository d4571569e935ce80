"""`breezeway serve`: keeps a server and its shims running, each a process of its own."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from breezeway_server.cli.listening import taken

# Exit statuses of children that must not be started again as they are.
BAD_CONFIGURATION = 2
CANNOT_LISTEN = 3
# That of `serve`, where a child breaks at each start.
CANNOT_START = 4

HTTP_LISTEN = "127.0.0.1:8642"
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_MOST_STARTS = 4
# What lasted longer than this was more than a start.
_START_SECONDS = 30.0
_LAST_WORDS = 65_536
_SHIM_GRACE = 15.0


class Child:
    """One process, started again when it is lost; a few times only for as long as nothing was `served`."""

    def __init__(
        self, module: str, arguments: tuple[str, ...], environ: Mapping[str, str], served: asyncio.Event
    ) -> None:
        self._module = module
        self._arguments = arguments
        self._environ = environ
        self._served = served
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Keep the process running until `stop`; return its exit status, or that of a start that cannot succeed."""
        pause = _FIRST_PAUSE
        broken_starts = 0
        while True:
            started = asyncio.get_running_loop().time()
            status, error = await self._run_once()
            if self._stopping.is_set() or status in {BAD_CONFIGURATION, CANNOT_LISTEN}:
                return status
            lasted = asyncio.get_running_loop().time() - started
            if lasted > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            broken_starts = 0 if self._served.is_set() or lasted > _START_SECONDS else broken_starts + 1
            if broken_starts == _MOST_STARTS:
                click.echo(
                    f"{self._module} ended {broken_starts} times before anything was served, the last time with "
                    f"{error or f'status {status}'}. It is not started again.",
                    err=True,
                )
                return CANNOT_START
            click.echo(f"{self._module} ended with status {status}; starting it again.", err=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return 0
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run_once(self) -> tuple[int, str]:
        """Run the process to its end. Gives its exit status, and the error that it died of, if it told one."""
        reading, writing = os.pipe()
        try:
            try:
                # The child sees the end of its standard input when this process is gone, however it goes. A session of
                # its own keeps the terminal's Ctrl-C from it: it is told to stop when its turn has come.
                process = self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "breezeway_server.cli.child", str(writing)),
                    *(self._module, *self._arguments),
                    env=dict(self._environ),
                    stdin=asyncio.subprocess.PIPE,
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            if self._stopping.is_set():
                process.terminate()
            status = await process.wait()
            # All that there is by now: the other end went with the process.
            return status, os.read(reading, _LAST_WORDS).decode(errors="replace")
        finally:
            os.close(reading)

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Ask the process to end; asked twice, it ends at once."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process, if it has not ended."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


async def supervise(environ: Mapping[str, str], data_dir: Path, shims: int) -> int:
    """Serve until SIGTERM or SIGINT, then stop the server, which drains, and the shims behind it.

    Returns the exit status: 0, or that of a child that could not start, which ends all of it.
    """
    # An HTTP client takes a while to load, which no other command should wait for.
    from breezeway_server.cli.greeting import greet  # noqa: PLC0415

    http_listen = environ.get("BREEZEWAY_HTTP_LISTEN", HTTP_LISTEN)
    # The children would find out too, but others would answer for the shim meanwhile; and shims that share the port
    # would not.
    for listen, flag in ((http_listen, "--http-listen"), (environ["BREEZEWAY_GRPC_LISTEN"], "--grpc-listen")):
        if fault := taken(listen, flag):
            click.echo(fault, err=True)
            return CANNOT_LISTEN
    with tempfile.TemporaryDirectory(prefix="breezeway-") as directory:
        path = f"{directory}/grpc.sock"
        served = asyncio.Event()
        server = Child("breezeway_server", ("server",), {**environ, "BREEZEWAY_GRPC_SOCKET": path}, served)
        before_shims = {**environ, "BREEZEWAY_GRPC_TARGET": f"unix:{path}"}
        if shims > 1:
            before_shims["BREEZEWAY_HTTP_REUSE_PORT"] = "true"
            # Whichever of them a scraper reaches, it gets the sums of all.
            before_shims["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="metrics-", dir=directory)
        fronts = [Child("breezeway_shim", (), before_shims, served) for _ in range(shims)]
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, server.stop)
        loop.add_signal_handler(signal.SIGINT, _interrupt, server)
        serving = asyncio.create_task(server.run(), name="server")
        fronting = [asyncio.create_task(shim.run(), name="shim") for shim in fronts]
        greeting = asyncio.create_task(greet(http_listen, environ, data_dir, served), name="greeting")
        await asyncio.wait({serving, *fronting}, return_when=asyncio.FIRST_COMPLETED)
        greeting.cancel()
        # The server ends first, so that its streams reach their readers through the shims to the last event.
        server.stop()
        server_status = await serving
        for shim in fronts:
            shim.stop()
        await asyncio.wait(fronting, timeout=_SHIM_GRACE)
        for shim in fronts:
            shim.kill()
        return max(server_status, *await asyncio.gather(*fronting), 0)


def _interrupt(server: Child) -> None:
    """Stop as SIGTERM does, and tell whoever waits at the terminal what they wait for."""
    if not server.stopping:
        click.echo("Stopping once the runs under way are over; Ctrl-C again stops at once.", err=True)
    server.stop()
