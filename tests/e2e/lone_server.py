"""A server without a shim, as a process that tests may kill, stop and start again."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.support.environ import clean_environ
from tests.support.system import STOP_SECONDS, Output, ReservedPort, launch


class LoneServer:
    """`breezeway server` in `directory`, on a port that stays the same over restarts."""

    def __init__(self, directory: Path, config: str, environ: Mapping[str, str]) -> None:
        self._port = ReservedPort()
        self.target = f"127.0.0.1:{self._port.number}"
        (directory / "breezeway.toml").write_text(config, encoding="utf-8")
        self.environ = {
            **clean_environ(),
            "BREEZEWAY_CONFIG": str(directory / "breezeway.toml"),
            "BREEZEWAY_DATA_DIR": str(directory / "data"),
            "BREEZEWAY_GRPC_LISTEN": self.target,
            **environ,
        }
        self.start()

    @classmethod
    @contextmanager
    def serving(cls, directory: Path, *, config: str, environ: Mapping[str, str]) -> Iterator[Self]:
        """A server that answers, for the length of the block."""
        server = cls(directory, config, environ)
        try:
            yield server
        finally:
            server.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def start(self) -> None:
        """Start, and return once it serves."""
        self._process = launch("server", environ=self.environ)
        self.output = Output(self._process)
        self.output.wait_for("serving")

    def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def restart(self) -> None:
        """SIGKILL, and start again."""
        self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once it has ended."""
        status = self._process.wait(STOP_SECONDS)
        self.output.close()
        return status

    def close(self) -> None:
        """End it as hard as it takes, and give the port back."""
        if self.runs:
            self.kill()
        self._port.close()
