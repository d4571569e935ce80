"""`breezeway` as its users run it: in a pipe, and in a terminal of its own."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.support.system import START_SECONDS

_COMMAND = [sys.executable, "-m", "breezeway_server"]


def piped(
    environ: Mapping[str, str], *arguments: str, text: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What a command that ends by itself said, with `text` as its input."""
    return subprocess.run(
        [*_COMMAND, *arguments],
        env=dict(environ),
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        self._keyboard, screen = pty.openpty()
        self.process = subprocess.Popen(
            [*_COMMAND, *arguments],
            env={**environ, "TERM": "xterm"},
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            # Ctrl-C reaches whoever has the terminal as its own.
            preexec_fn=_take_terminal,  # noqa: PLW1509  no thread of ours holds a lock here
        )
        os.close(screen)
        self._seen = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def wait_for(self, words: str, *, times: int = 1) -> str:
        with self._news:
            assert self._news.wait_for(lambda: self._seen.count(words) >= times, START_SECONDS), self._seen
            return self._seen

    def close(self) -> int:
        status = self.process.wait(START_SECONDS)
        self._reader.join(START_SECONDS)
        os.close(self._keyboard)
        return status

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._keyboard, 4096)
            except OSError:  # how a terminal says that nobody is on its other side
                return
            with self._news:
                self._seen += data.decode(errors="replace")
                self._news.notify_all()


def _take_terminal() -> None:
    import fcntl  # noqa: PLC0415  this runs in the child
    import termios  # noqa: PLC0415

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
