"""Which web pages and which addresses a request may come by: CORS, and what a server without keys has to know."""

from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from breezeway_shim.backend import NOT_LOCAL
from breezeway_shim.config import SETTINGS
from breezeway_shim.errors import RequestError, origin_denied

_EXPOSED_HEADERS = (
    "x-request-id, X-Run-Id, X-Conversation-Id, X-Hermes-Session-Id, X-OpenHands-ServerConversation-ID, Retry-After, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_SECONDS = "600"


@lru_cache(maxsize=256)
def is_local(host: str) -> bool:
    """Whether a name or address, with or without a port, is this machine whoever resolves it."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def cors_headers(request: web.Request) -> Mapping[str, str]:
    """What an answer to a page of a listed origin has; empty for all others."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not (_is_clean(origin) and _listed(origin, request.app[SETTINGS].origins)):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED_HEADERS,
        hdrs.VARY: hdrs.ORIGIN,
    }


@web.middleware
def check_origin(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Refuse pages of origins that are not listed, answer preflights, and note what was not meant for this machine.

    No coroutine, because every stream that is open would have one more.
    Whether the latter matters is the server's to say: it knows whether it has keys. A page that makes its own name
    resolve to this machine (DNS rebinding) is of the same origin to its browser, and still has its own name in Host.
    """
    settings = request.app[SETTINGS]
    if not (settings.listens_locally and _is_local_host(request)):
        request[NOT_LOCAL] = "listening for others" if not settings.listens_locally else "the Host is another's"
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return handler(request)
    if not _listed(origin, settings.origins):
        if not _same_origin(origin, request.host):
            raise origin_denied()
    elif request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        return _preflight(request)
    return handler(request)


def _is_local_host(request: web.Request) -> bool:
    try:
        return is_local(request.host)
    except ValueError:
        return False


def _is_clean(value: str) -> bool:
    """Whether a header may be given back to whoever sent it."""
    return value.isascii() and value.isprintable()


def _listed(origin: str, origins: Sequence[str]) -> bool:
    return origin in origins or "*" in origins


def _same_origin(origin: str, host: str) -> bool:
    # Not the scheme: TLS may end in front of us.
    return origin.partition("://")[2] == host


async def _preflight(request: web.Request) -> web.Response:
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    if not _is_clean(wanted):
        raise RequestError("The header Access-Control-Request-Headers may hold printable ASCII characters only.")
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: wanted,
            hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_SECONDS,
        },
    )
