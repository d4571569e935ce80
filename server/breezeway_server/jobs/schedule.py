"""Schedules: from their text to the times at which they fire. Times are in nanoseconds since 1970."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_SECOND = 1_000_000_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(every\s+)?([0-9]{1,9})\s*([smhd])", re.ASCII | re.IGNORECASE)
_CRON_FIELDS = 5
_LEAST_SECONDS = 60
_MOST_SECONDS = 366 * 86400
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

After: TypeAlias = Callable[[int], int | None]
"""The first firing strictly after a time; None where there is none any more."""


class ScheduleError(ValueError):
    """No schedule; the message says what one looks like."""


def parse_zone(name: str) -> ZoneInfo:
    """Return the time zone of that name. Raises `ScheduleError`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"there is no time zone {name[:64]!r}; write it like Europe/Berlin") from error


def parse_schedule(text: str, zone: ZoneInfo, set_ns: int) -> After:
    """Return when a schedule fires that was set at `set_ns`. Raises `ScheduleError`."""
    text = text.strip()
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        seconds = int(duration[2]) * _UNITS[duration[3].lower()]
        if not _LEAST_SECONDS <= seconds <= _MOST_SECONDS:
            raise ScheduleError("must lie between a minute and a year")
        return _every(seconds * _SECOND, set_ns) if duration[1] else _once(set_ns + seconds * _SECOND)
    if len(text.split()) == _CRON_FIELDS:
        return _cron(text, zone)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ScheduleError(
            'is no schedule; write cron with five fields ("30 9 * * 1-5"), "every 2h", "30m", or a time such as '
            "2027-01-31T09:00:00+01:00"
        ) from error
    return _once(_nanoseconds(at if at.tzinfo is not None else at.replace(tzinfo=zone)))


def _once(at_ns: int) -> After:
    return lambda time_ns: at_ns if at_ns > time_ns else None


def _every(interval_ns: int, set_ns: int) -> After:
    return lambda time_ns: set_ns + (max((time_ns - set_ns) // interval_ns, 0) + 1) * interval_ns


def _cron(text: str, zone: ZoneInfo) -> After:
    try:
        CronSim(text, _EPOCH)
    except CronSimError as error:
        raise ScheduleError(f"is no cron expression: {str(error).lower()}") from error

    def after(time_ns: int) -> int | None:
        times = CronSim(text, (_EPOCH + timedelta(seconds=time_ns // _SECOND)).astimezone(zone))
        for at in times:
            # In the hour that comes twice, cronsim may give a time of the first pass to whoever asks in the second.
            if _nanoseconds(at) > time_ns:
                return _nanoseconds(at)
        return None

    return after


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
