"""Ids: UUIDv7, so that they sort by time, and the spellings they have."""

import re
import secrets
import time
from collections.abc import Callable

_RUN_ID = re.compile(r"(?:run_|resp_|chatcmpl-)([0-9a-f]{32})", re.ASCII)

# Item ids end in the hexadecimal number of the item in its run; six digits sort up to 16 million items.
_POSITION_DIGITS = 6


class Uuid7:
    """Makes UUIDv7s (RFC 9562, 5.7) as 32 hexadecimal digits, each greater than the one before.

    The 12 bits after the version hold the fraction of the millisecond (method 3 of RFC 9562, 6.2); 62 bits are chance.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """`clock` gives nanoseconds since the epoch."""
        self._clock = clock
        self._last = 0

    def __call__(self) -> str:
        """Return a new one."""
        milliseconds, rest = divmod(self._clock(), 1_000_000)
        stamp = max(milliseconds << 12 | (rest << 12) // 1_000_000, self._last + 1)
        self._last = stamp
        high = (stamp >> 12) << 16 | 0x7000 | stamp & 0xFFF
        low = 0b10 << 62 | int.from_bytes(secrets.token_bytes(8), "big") >> 2
        return f"{high:016x}{low:016x}"


def canonical_run_id(text: str) -> str | None:
    """Return `run_X` for any spelling of a run's id (`run_X`, `resp_X`, `chatcmpl-X`), None for anything else."""
    match = _RUN_ID.fullmatch(text)
    return f"run_{match[1]}" if match else None


def item_id(prefix: str, owner: str, position: int) -> str:
    """Return the id of the item at `position` of `owner` (32 hexadecimal digits, of a run id or fresh).

    The part after the prefix is the item's sort key: items sort by their owner's time, then by position.
    """
    return f"{prefix}_{owner}{position:0{_POSITION_DIGITS}x}"


def item_key(item_id: str) -> str:
    """Return the sort key in an id that `item_id` made; other ids give a key that fits no item."""
    return item_id.partition("_")[2]


def run_key(run_id: str) -> str:
    """Return the 32 hexadecimal digits of a run id."""
    return run_id.partition("_")[2]
