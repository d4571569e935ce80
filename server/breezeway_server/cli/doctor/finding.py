"""What a check found, in a line."""

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """How bad it is: `FAIL` keeps Breezeway, or one of its agents, from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(Struct, frozen=True):
    """`check` names what was looked at, `message` says what is the case, and `advice` what to do about it."""

    level: Level
    check: str
    message: str
    advice: str = ""


def ok(check: str, message: str, advice: str = "") -> Finding:
    """All is well."""
    return Finding(Level.OK, check, message, advice)


def warn(check: str, message: str, advice: str) -> Finding:
    """It works, and may not do so for long, or not as it should."""
    return Finding(Level.WARN, check, message, advice)


def fail(check: str, message: str, advice: str = "") -> Finding:
    """It does not work."""
    return Finding(Level.FAIL, check, message, advice)
