"""What every answer has: a request id, security headers, and one shape where something went wrong."""

import re
import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from breezeway_shim.backend import BACKEND, REQUEST_ID, metadata_of
from breezeway_shim.errors import INVALID_REQUEST, ApiError, RequestError, internal_error
from breezeway_shim.origin import cors_headers

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = structlog.get_logger(__name__)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: put on every answer what every answer has, streams included."""
    response.headers["x-request-id"] = request[REQUEST_ID]
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.update(cors_headers(request))
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id: the caller's, where a mesh in front has given it one, or a new one."""
    given = request.headers.get("x-request-id", "")
    request[REQUEST_ID] = given if _SANE_REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
    return await handler(request)


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
    return web.Response(
        status=error.status,
        reason=reason,
        body=error.body(),
        content_type="application/json",
        headers=error.headers,
    )


async def _after_credentials(request: web.Request, error: RequestError) -> ApiError:
    """A stranger is told that they are one, and nothing else: the key comes before what the request says."""
    try:
        await request.app[BACKEND].check_credentials(metadata_of(request))
    except ApiError as refused:
        if refused.status in {401, 403}:
            return refused
    return error
