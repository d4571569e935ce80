"""The place in a stream from which a caller wants to go on."""

from aiohttp import web

from breezeway_shim.errors import INVALID_REQUEST, ApiError, RequestError

_QUERY = "starting_after"
_HEADER = "Last-Event-ID"


def cursor_in(request: web.Request) -> int | None:
    """The number of the last frame that the caller has; None where none is named. Raises `RequestError`.

    The header `Last-Event-ID` comes before the query's `starting_after`: a browser that connects again repeats the
    query that it began with, and knows better by then.
    """
    for name, given in ((_HEADER, request.headers.get(_HEADER)), (_QUERY, request.query.get(_QUERY))):
        if given:
            if not (given.isascii() and given.isdigit() and len(given) < 19):
                raise RequestError(
                    f"{name} is {given[:40]!r}; it must be an integer from 0.", name, code="invalid_value"
                )
            return int(given)
    return None


def refuse_cursor(request: web.Request) -> None:
    """Raise `RequestError` where a caller names a place in a stream and asks for none."""
    if cursor_in(request) is not None:
        raise RequestError(
            "starting_after and Last-Event-ID may be given only where stream is true.", _QUERY, code="invalid_value"
        )


def cursor_ahead(after: int, newest: int) -> ApiError:
    """The answer to a caller who names a frame that is not there yet."""
    message = f"The stream has no event {after}; its newest is {newest}."
    return ApiError(400, INVALID_REQUEST, "cursor_ahead", message, _QUERY)
