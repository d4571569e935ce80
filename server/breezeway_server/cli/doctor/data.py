"""The data directory: whether it can be used, how much room it has, and whether a server has it."""

import fcntl
import os
import shutil
import stat
from pathlib import Path

from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn

_CHECK = "data directory"
_LITTLE = 1024**3
_TOO_LITTLE = 64 * 1024**2


def check_directory(directory: Path) -> list[Finding]:
    """Whether a server could use the directory, or create it. Creates nothing."""
    # Whoever may not even look into the folder above gets no exception from `access`.
    if not os.access(directory, os.F_OK):
        parent = next(parent for parent in directory.absolute().parents if os.access(parent, os.F_OK))
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            return [_unusable(directory, f"cannot be created in {parent}")]
        return [ok(_CHECK, f"{directory} is not there yet; the first start creates it."), *_room(parent)]
    if not directory.is_dir():
        return [_unusable(directory, "is no directory")]
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return [_unusable(directory, "cannot be read and written by this user")]
    findings = [ok(_CHECK, f"{directory} can be read and written."), *_room(directory)]
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        findings.append(warn(_CHECK, f"{directory} is open to other users.", f"Run `chmod 700 {directory}`."))
    return findings


def has_server(directory: Path) -> bool:
    """Whether a server has the directory now."""
    try:
        lock = (directory / "lock").open()
    except OSError:
        return False
    with lock:
        try:
            # Shared, and let go of at once.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _room(directory: Path) -> list[Finding]:
    free = shutil.disk_usage(directory).free
    said = f"{free / 1024**3:.1f} GiB are free."
    if free < _TOO_LITTLE:
        return [fail(_CHECK, said, "Make room: a store that cannot write interrupts its runs.")]
    if free < _LITTLE:
        return [warn(_CHECK, said, "Make room, or shorten BREEZEWAY_LOG_RETENTION_SECONDS.")]
    return [ok(_CHECK, said)]


def _unusable(directory: Path, why: str) -> Finding:
    return fail(_CHECK, f"{directory} {why}.", "Correct its owner, or choose another BREEZEWAY_DATA_DIR.")
