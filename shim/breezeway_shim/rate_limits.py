"""How much of its limits a caller has left: what the server says of it goes along with the answer."""

from collections.abc import Iterable

from aiohttp import web

_PREFIX = "x-ratelimit-"

RATE_LIMITS = web.RequestKey("rate_limits", dict)
"""The headers that tell it; absent where the server has said nothing, because there is no limit."""


def rate_limits_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """The headers among the metadata of a call, which has them in the same words."""
    return {name: str(value) for name, value in metadata or () if name.startswith(_PREFIX)}


def note_rate_limits(request: web.Request, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
    """Let the answer to the request have them; every answer that is yet to begin does."""
    if found := rate_limits_in(metadata):
        request[RATE_LIMITS] = found
