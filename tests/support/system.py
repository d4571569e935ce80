"""The real system as processes: `breezeway serve` with a data directory and ports of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.support.patience import PATIENCE

START_SECONDS = PATIENCE
STOP_SECONDS = PATIENCE
_READY = "Breezeway is ready."
_OURS = re.compile(r"BREEZEWAY_|OPENAI_|XDG_DATA_HOME")


class ReservedPort:
    """A port of 127.0.0.1 that nobody else is given, for as long as this is open; free to be listened on."""

    def __init__(self) -> None:
        # Bound and not listening: with SO_REUSEADDR on both sides another socket may listen there, and the kernel
        # gives the port to nobody who asks for just any.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    @classmethod
    @contextmanager
    def reserved(cls) -> Iterator[Self]:
        port = cls()
        try:
            yield port
        finally:
            port.close()


def wait_until_listened_on(port: int, process: subprocess.Popen[Any]) -> None:
    """Return once somebody takes connections at that port of 127.0.0.1. AssertionError where `process` ends before."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError(f"the process ended with status {process.returncode}")


class Output:
    """What a process writes, line by line, as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        with self._news:
            return "".join(self._lines)

    def wait_for(self, words: str, seconds: float = START_SECONDS, *, times: int = 1) -> str:
        """The text so far, once `words` are in it that often. AssertionError where they never come."""
        with self._news:
            self._news.wait_for(lambda: self._ended or "".join(self._lines).count(words) >= times, seconds)
            text = "".join(self._lines)
        assert text.count(words) >= times, f"the process never said {words!r}; it said:\n{text}"
        return text

    def close(self) -> None:
        """Wait for the last line of a process that has ended, and of those that it started."""
        self._thread.join(STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


class System:
    """`breezeway serve` in `directory`, on ports that stay the same over restarts.

    `environ` is added to an environment without settings of ours; `config` is the text of its TOML file.
    """

    def __init__(self, directory: Path, *, environ: Mapping[str, str] | None = None, config: str | None = None) -> None:
        self.directory = directory
        self._ports = (ReservedPort(), ReservedPort())
        self.http_port, self.grpc_port = (port.number for port in self._ports)
        self.environ = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        self.environ |= {
            "BREEZEWAY_DATA_DIR": str(directory / "data"),
            "BREEZEWAY_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "BREEZEWAY_GRPC_LISTEN": self.grpc_target,
            **(environ or {}),
        }
        if config is not None:
            (directory / "breezeway.toml").write_text(config, encoding="utf-8")
            self.environ["BREEZEWAY_CONFIG"] = str(directory / "breezeway.toml")
        self._process: subprocess.Popen[str] | None = None
        self._output: Output | None = None

    @classmethod
    @contextmanager
    def serving(
        cls, directory: Path, *, environ: Mapping[str, str] | None = None, config: str | None = None
    ) -> Iterator[Self]:
        """A system that answers, for the length of the block."""
        system = cls(directory, environ=environ, config=config)
        try:
            system.start()
            yield system
        finally:
            system.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def output(self) -> Output:
        assert self._output is not None, "the system was started"
        return self._output

    def start(self) -> None:
        """Start, and return once `/health` says that all is well."""
        self._process = launch("serve", environ=self.environ)
        self._output = Output(self._process)
        self._output.wait_for(_READY)
        with urllib.request.urlopen(f"{self.url}/health", timeout=START_SECONDS) as response:  # noqa: S310 - ours
            assert response.status == 200

    def terminate(self) -> int:
        """SIGTERM, and the exit status once the drain is over."""
        return self._end(signal.SIGTERM)

    def interrupt(self) -> int:
        """SIGINT, as Ctrl-C sends it, and the exit status once the drain is over."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to all of it, as when a machine is lost; returns once nothing of it is left."""
        children = (self.pid_of("breezeway_server"), self.pid_of("breezeway_shim"))
        assert self._process is not None
        # A parent that could still move would start them again.
        self._process.send_signal(signal.SIGSTOP)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def kill_server(self) -> None:
        """SIGKILL to the server alone; `serve` starts it again."""
        os.kill(self.pid_of("breezeway_server"), signal.SIGKILL)

    def pid_of(self, module: str) -> int:
        """The process of `serve` that runs `module`."""
        pids = self.pids_of(module)
        assert pids, f"serve runs no {module}"
        return pids[0]

    def pids_of(self, module: str) -> list[int]:
        """The processes of `serve` that run `module`."""
        assert self._process is not None
        listing = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="],
            check=True,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        ).stdout
        processes = [line.split(maxsplit=2) for line in listing.splitlines()]
        return [
            int(pid)
            for pid, parent, command in processes
            if int(parent) == self._process.pid and module in command.removeprefix(sys.executable).split()
        ]

    def close(self) -> None:
        """End it as hard as it takes, and give the ports back."""
        if self._process is not None:
            if self._process.poll() is None:
                self.terminate()
            self.output.close()
        for port in self._ports:
            port.close()

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        self.output.close()
        return status


def launch(*arguments: str, environ: Mapping[str, str], stdin: int | None = None) -> subprocess.Popen[str]:
    """`breezeway` with these arguments; what it writes comes on one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "breezeway_server", *arguments],
        env=dict(environ),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
