"""How much of request bodies a shim holds at once: bytes are counted as they come, until their answer begins."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from breezeway_shim.config import ShimSettings
from breezeway_shim.errors import SERVER_ERROR, ApiError

# What every request may have, however much is held: nobody's large bodies keep ordinary requests out.
_FREE = 64 * 1024
_RETRY_SECONDS = 1


class BodyBudget:
    """The bytes of all bodies together. One body of the largest size fits in any case."""

    def __init__(self, settings: ShimSettings) -> None:
        self._limit = max(settings.http_max_bodies_bytes, settings.max_body_bytes)
        self._held = 0

    def refusal(self, request: web.BaseRequest) -> ApiError | None:
        """The answer to a body of the length that the request names, where that would not fit now.

        Nothing is reserved: who names a length and sends nothing takes nothing from anybody.
        """
        length = request.content_length or 0
        return _too_many_bodies() if length > _FREE and self._held + length > self._limit else None

    def take(self, request: web.Request, size: int) -> None:
        """Count the `size` bytes of the request's body that are here. Raises `ApiError` 503 where that is too much."""
        if size <= _FREE:
            return
        more = size - request.get(_HELD, 0)
        if self._held + more > self._limit:
            raise _too_many_bodies()
        self._held += more
        request[_HELD] = size

    def give_back(self, request: web.Request) -> None:
        """Count the request's body no more."""
        if self._held:
            self._held -= request.pop(_HELD, 0)


BODY_BUDGET = web.AppKey("body_budget", BodyBudget)
_HELD = web.RequestKey("held_body", int)


@web.middleware
async def count_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give back what a request's body takes when it has been dealt with, however that ended."""
    try:
        return await handler(request)
    finally:
        request.app[BODY_BUDGET].give_back(request)


async def give_back_body(request: web.Request, _: web.StreamResponse) -> None:
    """Signal handler: an answer begins. From here on the limits of a caller hold whom the server knows."""
    request.app[BODY_BUDGET].give_back(request)


def _too_many_bodies() -> ApiError:
    message = "As much of large request bodies is being read as may be; try again."
    # The connection ends: its caller may still be sending what nobody will read.
    headers = {"Retry-After": str(_RETRY_SECONDS), hdrs.CONNECTION: "close"}
    return ApiError(503, SERVER_ERROR, "too_many_bodies", message, headers=headers)
