"""The demo's clock: the time of day in a place, by the time zones of the system."""

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo

_ASKS = re.compile(r"\b(?:what(?:'s| is)?\s+(?:the\s+)?time|time\s+is\s+it|time\s+in|clock)\b", re.IGNORECASE)
_PLACE = re.compile(r"\b(?:in|at)\s+(?:the\s+)?([A-Za-zÀ-ÿ][\w'/+-]*(?:[ ][A-Z][\w'/+-]*)*)")

# A city is looked up in each, which costs less than reading all the zones there are.
_AREAS = ("Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian")


class ClockError(Exception):
    """The place has no time zone known here; the text says so."""


class Clock:
    """Tells the time; `now` gives it for a time zone."""

    def __init__(self, now: Callable[[tzinfo], datetime]) -> None:
        self._now = now

    def tell(self, place: str) -> str:
        """A sentence with the time in `place`, a city or a zone such as Europe/Berlin. Raises `ClockError`."""
        if place.strip().casefold() in {"utc", "gmt", ""}:
            return self._sentence("UTC", UTC)
        spelled = place.strip().replace(" ", "_")
        for name in (spelled, spelled.title()):
            for key in (name, *(f"{area}/{name}" for area in _AREAS)):
                try:
                    return self._sentence(key, zoneinfo.ZoneInfo(key))
                except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                    # Not there, no possible name, or the name of a whole area.
                    continue
        raise ClockError(f"no time zone is known for {place}")

    def _sentence(self, name: str, zone: tzinfo) -> str:
        return f"{self._now(zone):%H:%M on %A, %d %B %Y} ({name})"


def find_place(text: str) -> str | None:
    """The place whose time `text` asks for, "UTC" where it names none, or None where it does not ask."""
    if not _ASKS.search(text):
        return None
    place = _PLACE.search(text)
    return place.group(1) if place else "UTC"
