"""What every answer has: a request id, security headers, and one shape where something went wrong."""

import secrets
from collections.abc import Awaitable

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from breezeway.telemetry.logs import REQUEST_ID as REQUEST_ID_FORM
from multidict import istr

from breezeway_shim.backend import BACKEND, REQUEST_ID, metadata_of
from breezeway_shim.errors import INVALID_REQUEST, ApiError, RequestError, internal_error
from breezeway_shim.origin import cors_headers
from breezeway_shim.rate_limits import RATE_LIMITS

# The caller of such an answer may still be sending what nobody will read.
_ENDS_CONNECTION = {408, 413}
_REQUEST_ID_HEADER = istr("x-request-id")
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
_log = structlog.get_logger(__name__)


def new_request_id() -> str:
    """An id for a request that brought none, or none that could be read: 32 random hexadecimal digits."""
    return secrets.token_hex(16)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: put on every answer what every answer has, streams included."""
    headers = response.headers
    headers[_REQUEST_ID_HEADER] = request[REQUEST_ID]
    if limits := request.get(RATE_LIMITS):
        headers.update(limits)
    headers.update(SECURITY_HEADERS)
    headers.update(cors_headers(request))
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")


@web.middleware
def identify(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Give the request an id: the caller's, where a mesh in front has given it one, or a new one.

    No coroutine, because every stream that is open would have one more.
    """
    given = request.headers.get(_REQUEST_ID_HEADER)
    request[REQUEST_ID] = given if given and REQUEST_ID_FORM.fullmatch(given) else new_request_id()
    return handler(request)


@web.middleware
async def shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with OpenAI's error body whatever goes wrong before the answer has begun."""
    try:
        return await handler(request)
    except RequestError as error:
        return error_response(await _after_credentials(request, error))
    except ApiError as error:
        return error_response(error)
    except web.HTTPNotFound:
        return error_response(
            ApiError(404, INVALID_REQUEST, "not_found", f"There is no {request.path}; GET / lists what there is.")
        )
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method} is not possible on {request.path}; {allowed} is."
        headers = {"Allow": allowed}
        return error_response(ApiError(405, INVALID_REQUEST, "method_not_allowed", message, headers=headers))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_response(ApiError(error.status, INVALID_REQUEST, None, error.reason))
    except ConnectionResetError:
        # The client is gone and nobody is left to be told; aiohttp knows what to do.
        raise
    except Exception:  # noqa: BLE001  the one place where the unforeseen becomes an answer
        _log.exception("request failed", request_id=request[REQUEST_ID], method=request.method, path=request.path)
        return error_response(internal_error(request[REQUEST_ID]))


def error_response(error: ApiError) -> web.Response:
    """The error as a whole answer."""
    reason = "Client Closed Request" if error.status == 499 else None
    response = web.Response(
        status=error.status,
        reason=reason,
        body=error.body(),
        content_type="application/json",
        headers=error.headers,
    )
    if error.status in _ENDS_CONNECTION or hdrs.CONNECTION in error.headers:
        response.force_close()
    return response


async def _after_credentials(request: web.Request, error: RequestError) -> ApiError:
    """A stranger is told that they are one, and nothing else: the key comes before what the request says."""
    try:
        await request.app[BACKEND].check_credentials(metadata_of(request))
    except ApiError as refused:
        if refused.status in {401, 403}:
            return refused
    return error
