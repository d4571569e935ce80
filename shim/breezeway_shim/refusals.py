"""Answers that are given before a request has come to the application, or without a request at all."""

from http import HTTPStatus

from aiohttp import hdrs, web

from breezeway_shim.body import body_too_large
from breezeway_shim.body_budget import BodyBudget
from breezeway_shim.errors import INVALID_REQUEST, SERVER_ERROR, ApiError
from breezeway_shim.middleware import SECURITY_HEADERS, new_request_id

_FULL_RETRY_SECONDS = 1


def too_many_connections() -> ApiError:
    """The answer on a connection beyond those that there may be."""
    message = "As many connections are open as may be; try again."
    headers = {"Retry-After": str(_FULL_RETRY_SECONDS)}
    return ApiError(503, SERVER_ERROR, "too_many_connections", message, headers=headers)


def too_slow(seconds: float) -> ApiError:
    """The answer to a request whose head does not come."""
    message = f"No whole request came within {seconds:g} seconds."
    return ApiError(408, INVALID_REQUEST, "request_timeout", message)


def malformed(status: int, *, too_long: bool) -> ApiError:
    """The answer to what is no HTTP; it quotes nothing of what came."""
    if too_long:
        message = "The first line of the request, or one of its headers, is too long."
        return ApiError(431, INVALID_REQUEST, "headers_too_large", message)
    return ApiError(status, INVALID_REQUEST, "malformed_request", "The request is not HTTP as it should be.")


def refused_expectation(request: web.BaseRequest, max_body_bytes: int, budget: BodyBudget) -> ApiError | None:
    """The answer to a caller who asks first whether to send a body, where the answer is no."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        message = "Expect may ask for 100-continue and for nothing else."
        return ApiError(417, INVALID_REQUEST, "expectation_failed", message)
    if (request.content_length or 0) > max_body_bytes:
        return body_too_large(max_body_bytes)
    return budget.refusal(request)


def early_answer(error: ApiError, request_id: str) -> web.Response:
    """The error as a whole answer, after which the connection closes."""
    response = web.Response(
        status=error.status,
        body=error.body(),
        content_type="application/json",
        headers={**error.headers, **SECURITY_HEADERS, "x-request-id": request_id},
    )
    response.force_close()
    return response


def raw_answer(error: ApiError) -> bytes:
    """The same as bytes, for where nobody reads requests any more."""
    body = error.body()
    headers = {
        **error.headers,
        **SECURITY_HEADERS,
        "x-request-id": new_request_id(),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n{''.join(lines)}\r\n".encode() + body
