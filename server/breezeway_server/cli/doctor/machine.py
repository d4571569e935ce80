"""The machine: its clock, how many connections a process may have, and what is installed."""

import re
import resource
from datetime import UTC, datetime
from importlib import metadata

from breezeway_server.cli.doctor.finding import Finding, ok, warn
from breezeway_server.cli.doctor.store import Stored
from breezeway_server.config import ServerSettings

_DISTRIBUTION = "breezeway"
# No clock that is right shows an earlier moment: this was written then.
_EARLIEST = datetime(2025, 9, 1, tzinfo=UTC).timestamp()
_CLOCK_SLACK = 60.0
# Beside its streams a process has its files, its upstreams and its listening sockets.
_OTHER_FILES = 256
_REQUIREMENT = re.compile(r"""^([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([^'"]+)['"]""")


def check_clock(stored: Stored, *, now: float) -> Finding:
    """Whether the clock can be right; `now` is in seconds since 1970."""
    said = f"It is {datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}."
    advice = "Set the clock: ids sort by time, and keys, jobs and logs end by it."
    if now < _EARLIEST:
        return warn("clock", f"{said} That cannot be.", advice)
    if stored.newest_run is not None and stored.newest_run > now + _CLOCK_SLACK:
        ahead = stored.newest_run - now
        return warn("clock", f"{said} The newest run is from {ahead:.0f} seconds later.", advice)
    return ok("clock", said)


def check_files(server: ServerSettings) -> Finding:
    """Whether a process may have as many files open as its streams need."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Each stream is a connection of its own in the shim, and may have one to a model in the server.
    needed = server.max_runs + _OTHER_FILES
    said = f"A process may have {'any number of' if soft == resource.RLIM_INFINITY else soft} files open"
    if soft != resource.RLIM_INFINITY and soft < needed:
        advice = f"Raise it to {needed} (`ulimit -n`, LimitNOFILE of systemd), or lower BREEZEWAY_MAX_RUNS."
        return warn("open files", f"{said}, fewer than {server.max_runs} streams need.", advice)
    return ok("open files", f"{said}.")


def check_extras() -> list[Finding]:
    """Which of the optional parts are installed; those for Breezeway's own development do not matter here."""
    parts: dict[str, list[str]] = {}
    for requirement in metadata.requires(_DISTRIBUTION) or []:
        if (match := _REQUIREMENT.match(requirement)) and match[2] != "dev":
            parts.setdefault(match[2], []).append(match[1])
    return [_extra(extra, names) for extra, names in sorted(parts.items())]


def _extra(extra: str, names: list[str]) -> Finding:
    missing = [name for name in names if not _installed(name)]
    if missing:
        advice = f"Run `pip install '{_DISTRIBUTION}[{extra}]'` to have it."
        return ok("extras", f"{extra} is not installed ({', '.join(missing)}).", advice)
    return ok("extras", f"{extra} is installed.")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
