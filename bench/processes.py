"""The processes that are measured: their start, and what they cost according to /proc."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PATIENCE_SECONDS = 30.0


@dataclass
class Process:
    """A process with all that it starts; `port` is where it serves HTTP."""

    name: str
    port: int
    popen: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """Return the CPU time of all its threads and children so far."""
        return sum(_thread_seconds(pid) for pid in _tree(self.popen.pid)) / 1e9

    def resident_bytes(self) -> int:
        """Return the memory that it and its children have in use and share with nobody."""
        return sum(_private_bytes(pid) for pid in _tree(self.popen.pid))


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in _tree(int(child)))]


def _thread_seconds(pid: int) -> int:
    # schedstat counts nanoseconds; stat only hundredths of a second.
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def _started(name: str, port: int, command: list[str], environ: Mapping[str, str] | None = None) -> Iterator[Process]:
    popen = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Process(name, port, popen)
    finally:
        popen.terminate()
        popen.wait(_PATIENCE_SECONDS)


@contextlib.contextmanager
def model() -> Iterator[Process]:
    """Run the model server."""
    port = free_port()
    with _started("model", port, ["bench.model", str(port)]) as process:
        _await_port(process)
        yield process


@contextlib.contextmanager
def proxy(model_port: int) -> Iterator[Process]:
    """Run the yardstick."""
    port = free_port()
    with _started("proxy", port, ["bench.proxy", str(port), str(model_port)]) as process:
        _await_port(process)
        yield process


@contextlib.contextmanager
def breezeway(model_port: int, models: list[str]) -> Iterator[tuple[Process, int]]:
    """Run the system under test, with one agent for each model; gives it and its gRPC port."""
    port, grpc_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="breezeway-bench-") as directory:
        config = Path(directory) / "bench.toml"
        agent = '[agents."{0}"]\nkind = "llm"\nmodel = "{0}"\nbase_url = "http://127.0.0.1:{1}/v1"\n'
        config.write_text("".join(agent.format(name, model_port) for name in models))
        environ = {
            **os.environ,
            "BREEZEWAY_CONFIG": str(config),
            "BREEZEWAY_DATA_DIR": f"{directory}/data",
            "BREEZEWAY_HTTP_LISTEN": f"127.0.0.1:{port}",
            "BREEZEWAY_GRPC_LISTEN": f"127.0.0.1:{grpc_port}",
            "BREEZEWAY_MAX_RUNS": "20000",
            "BREEZEWAY_HTTP_MAX_CONNECTIONS": "20000",
            # The proxy writes none either.
            "BREEZEWAY_ACCESS_LOG": "false",
        }
        with _started("breezeway", port, ["breezeway_server", "serve"], environ) as process:
            _await_health(process)
            yield process, grpc_port


def _await_port(process: Process) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", process.port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{process.name} did not start")


def _await_health(process: Process) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        url = f"http://127.0.0.1:{process.port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise TimeoutError(f"{process.name} did not become healthy")
