"""Golden transcripts: what each dialect makes of each kept log. `python -m tests.support.golden` rewrites them."""

from pathlib import Path

from tests.support.dialects import DIALECTS, frames
from tests.support.logs import log_names, read_log

GOLDEN = Path(__file__).parents[1] / "golden"


def transcript(dialect: str, log: str) -> bytes:
    """What a client of the dialect gets of the log."""
    return b"".join(frames(DIALECTS[dialect](), read_log(log)))


def golden_path(dialect: str, log: str) -> Path:
    """The file that holds the transcript."""
    return GOLDEN / dialect / f"{log}.sse"


def rewrite() -> None:
    """Write all transcripts anew."""
    for dialect in DIALECTS:
        (GOLDEN / dialect).mkdir(parents=True, exist_ok=True)
        for log in log_names():
            golden_path(dialect, log).write_bytes(transcript(dialect, log))


if __name__ == "__main__":
    rewrite()
