"""Errors as HTTP callers see them: OpenAI's error body, and the one table from the server's reasons to it.

The tree:

* `ApiError`: anything that is answered with OpenAI's error body.
  * `RequestError`: a fault of the request that the shim itself found, before the server saw who is calling.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import NamedTuple

import grpc
import msgspec
from breezeway.v1 import event_pb2, run_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from breezeway_shim.rate_limits import rate_limits_in

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

FieldToParam = Callable[[str], str | None]
"""From the path of a field in the server's request to the caller's own name for it; None where it has none."""


class ErrorKind(NamedTuple):
    """What a kind of fault looks like in OpenAI's words."""

    status: int
    type: str
    code: str | None
    param: str | None = None


REASONS: Mapping[str, ErrorKind] = {
    # Nothing of that name.
    "AGENT_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "model_not_found", "model"),
    "JOB_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "not_found"),
    "RUN_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "not_found"),
    "ITEM_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "not_found"),
    "CONVERSATION_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "conversation_not_found"),
    "KEY_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "not_found"),
    "APPROVAL_NOT_FOUND": ErrorKind(404, INVALID_REQUEST, "approval_not_found"),
    "PREVIOUS_RUN_NOT_FOUND": ErrorKind(
        400, INVALID_REQUEST, "previous_response_not_found", param="previous_response_id"
    ),
    "CALL_NOT_FOUND": ErrorKind(400, INVALID_REQUEST, "call_not_found"),
    # Not so.
    "INVALID_REQUEST": ErrorKind(400, INVALID_REQUEST, None),
    "SECRET_KEY_MISSING": ErrorKind(400, INVALID_REQUEST, "secret_key_missing"),
    "INVALID_CONTENT_PART": ErrorKind(400, INVALID_REQUEST, "invalid_content_part"),
    "INVALID_IMAGE_URL": ErrorKind(400, INVALID_REQUEST, "invalid_image_url"),
    "UNSUPPORTED_CONTENT_TYPE": ErrorKind(400, INVALID_REQUEST, "unsupported_content_type"),
    "TOOL_NAME_CLASH": ErrorKind(400, INVALID_REQUEST, "tool_name_clash", param="tools"),
    # Not you. SDKs know 401 by its status.
    "KEY_MISSING": ErrorKind(401, INVALID_REQUEST, "invalid_api_key"),
    "KEY_UNKNOWN": ErrorKind(401, INVALID_REQUEST, "invalid_api_key"),
    "KEY_EXPIRED": ErrorKind(401, INVALID_REQUEST, "invalid_api_key"),
    "KEY_REVOKED": ErrorKind(401, INVALID_REQUEST, "invalid_api_key"),
    "SCOPE_MISSING": ErrorKind(403, "permission_error", "permission_denied"),
    "TENANT_DENIED": ErrorKind(403, "permission_error", "permission_denied"),
    "CALLER_NOT_LOCAL": ErrorKind(403, "permission_error", "caller_not_local"),
    "KEY_NOT_VALID": ErrorKind(400, INVALID_REQUEST, "key_not_valid"),
    # Not now. SDKs try 409, 429 and 503 again by themselves.
    "TOO_MANY_RUNS": ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    "TOO_MANY_RUNS_OF_KEY": ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    "RATE_LIMITED_REQUESTS": ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    "RATE_LIMITED_TOKENS": ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    "CONVERSATION_QUEUE_FULL": ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    "SERVER_DRAINING": ErrorKind(503, SERVER_ERROR, "server_unavailable"),
    "STORE_UNAVAILABLE": ErrorKind(503, SERVER_ERROR, "server_unavailable"),
    "RUN_NOT_HERE": ErrorKind(503, SERVER_ERROR, "server_unavailable"),
    "PREVIOUS_RUN_NOT_OVER": ErrorKind(
        409, INVALID_REQUEST, "previous_response_not_over", param="previous_response_id"
    ),
    "CONVERSATION_LOCKED": ErrorKind(409, INVALID_REQUEST, "conversation_locked"),
    "AGENT_EXISTS": ErrorKind(409, INVALID_REQUEST, "agent_exists"),
    "AGENT_READ_ONLY": ErrorKind(409, INVALID_REQUEST, "agent_read_only"),
    "JOB_COMPLETED": ErrorKind(409, INVALID_REQUEST, "job_completed"),
    "CONVERSATION_EXISTS": ErrorKind(409, INVALID_REQUEST, "conversation_exists"),
    "APPROVAL_ALREADY_RESOLVED": ErrorKind(409, INVALID_REQUEST, "approval_already_resolved"),
    "CURSOR_EXPIRED": ErrorKind(410, INVALID_REQUEST, "cursor_expired"),
    "CURSOR_AHEAD": ErrorKind(400, INVALID_REQUEST, "cursor_ahead"),
    "REQUEST_ID_REUSED": ErrorKind(422, INVALID_REQUEST, "idempotency_key_reused"),
    # The model's provider.
    "UPSTREAM_REJECTED": ErrorKind(400, INVALID_REQUEST, "upstream_rejected"),
    "UPSTREAM_RATE_LIMITED": ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    "UPSTREAM_TIMEOUT": ErrorKind(504, SERVER_ERROR, "upstream_timeout"),
    "UPSTREAM_UNAVAILABLE": ErrorKind(502, SERVER_ERROR, "upstream_unavailable"),
    "UPSTREAM_ERROR": ErrorKind(502, SERVER_ERROR, "upstream_error"),
    "UPSTREAM_CUT": ErrorKind(502, SERVER_ERROR, "upstream_cut"),
    "UPSTREAM_MALFORMED": ErrorKind(502, SERVER_ERROR, "upstream_malformed"),
    "UPSTREAM_AUTH": ErrorKind(502, SERVER_ERROR, "upstream_auth"),
    # The run. 502: the fault lies with the agent behind this gateway, and 500 would point at the gateway itself.
    "AGENT_FAILED": ErrorKind(502, SERVER_ERROR, "agent_failed"),
    "AGENT_UNAVAILABLE": ErrorKind(502, SERVER_ERROR, "agent_unavailable"),
    "AGENT_TIMEOUT": ErrorKind(504, SERVER_ERROR, "agent_timeout"),
    "AGENT_REJECTED": ErrorKind(400, INVALID_REQUEST, "agent_rejected"),
    "AGENT_SECRET_LOST": ErrorKind(502, SERVER_ERROR, "agent_secret_lost"),
    "AGENT_NOT_READY": ErrorKind(502, SERVER_ERROR, "agent_not_ready"),
    "DEMO_FAILURE": ErrorKind(502, SERVER_ERROR, "demo_failure"),
    "RUN_TIMEOUT": ErrorKind(504, SERVER_ERROR, "run_timeout"),
    # 503: its server was lost or stopped, and another try may find one that stays.
    "RUN_INTERRUPTED": ErrorKind(503, SERVER_ERROR, "run_interrupted"),
    "SERVER_RESTARTED": ErrorKind(503, SERVER_ERROR, "server_restarted"),
    "SERVER_STOPPED": ErrorKind(503, SERVER_ERROR, "server_stopped"),
    # 499, nginx's word for a request that was called off: SDKs retry 409 and 5xx by themselves, and what somebody
    # cancelled must not be run again.
    "RUN_CANCELLED": ErrorKind(499, INVALID_REQUEST, "run_cancelled"),
}

STATUSES: Mapping[grpc.StatusCode, ErrorKind] = {
    grpc.StatusCode.INVALID_ARGUMENT: ErrorKind(400, INVALID_REQUEST, None),
    grpc.StatusCode.OUT_OF_RANGE: ErrorKind(400, INVALID_REQUEST, None),
    grpc.StatusCode.UNAUTHENTICATED: ErrorKind(401, INVALID_REQUEST, "invalid_api_key"),
    grpc.StatusCode.PERMISSION_DENIED: ErrorKind(403, "permission_error", "permission_denied"),
    grpc.StatusCode.NOT_FOUND: ErrorKind(404, INVALID_REQUEST, "not_found"),
    grpc.StatusCode.ALREADY_EXISTS: ErrorKind(409, INVALID_REQUEST, "already_exists"),
    grpc.StatusCode.ABORTED: ErrorKind(409, INVALID_REQUEST, "aborted"),
    grpc.StatusCode.FAILED_PRECONDITION: ErrorKind(400, INVALID_REQUEST, None),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorKind(429, "rate_limit_error", "rate_limit_exceeded"),
    grpc.StatusCode.CANCELLED: ErrorKind(499, INVALID_REQUEST, "cancelled"),
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorKind(504, SERVER_ERROR, None),
    grpc.StatusCode.UNAVAILABLE: ErrorKind(503, SERVER_ERROR, "server_unavailable"),
    grpc.StatusCode.UNIMPLEMENTED: ErrorKind(501, SERVER_ERROR, "not_implemented"),
}
"""For a reason that is not listed above, which is then the code where there is none here."""

INTERNAL = ErrorKind(500, SERVER_ERROR, "internal_error")

_STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class _Error(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class _ErrorBody(msgspec.Struct):
    error: _Error


class ApiError(Exception):
    """Answered with `status` and OpenAI's error body."""

    def __init__(
        self,
        status: int,
        type: str,  # noqa: A002  OpenAI's own name for it
        code: str | None,
        message: str,
        param: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.type = type
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """`{"error": {"message", "type", "param", "code"}}` as JSON; all four keys are there."""
        return msgspec.json.encode(_ErrorBody(_Error(self.message, self.type, self.param, self.code)))


class RequestError(ApiError):
    """A fault of the request that the shim found by itself, before the server saw the caller's key."""

    def __init__(self, message: str, param: str | None = None, *, code: str | None = None, status: int = 400) -> None:
        super().__init__(status, INVALID_REQUEST, code, message, param)


def internal_error(request_id: str) -> ApiError:
    """The answer to what nobody foresaw; the log has the rest under this request id."""
    return _from_kind(INTERNAL, f"Something went wrong on our side. Please quote request id {request_id}.")


def unauthenticated(message: str) -> ApiError:
    """The answer to a caller without a key that fits."""
    return _from_kind(STATUSES[grpc.StatusCode.UNAUTHENTICATED], message)


def origin_denied() -> ApiError:
    """The answer to a web page that may not call."""
    message = "Pages of this origin may not call; the operator lists those that may in BREEZEWAY_CORS_ORIGINS."
    return ApiError(403, "permission_error", "origin_not_allowed", message)


def run_failed(error: run_pb2.RunError) -> ApiError:
    """The answer to a caller whose run ended in RunFailed."""
    kind = REASONS.get(error.reason) or _by_status(_STATUS_BY_NUMBER.get(error.code), error.reason)
    if kind is INTERNAL:
        # An agent may fail for reasons of its own; that is its fault, and not the gateway's.
        kind = REASONS["AGENT_FAILED"]._replace(code=error.reason.lower() or None)
    retry_after = error.retry_after if error.HasField("retry_after") else None
    return _from_kind(
        kind._replace(code=error.upstream_code or kind.code), error.message, error.param or None, retry_after
    )


def run_cancelled() -> ApiError:
    """The answer to a caller whose run was cancelled by somebody else."""
    return _from_kind(REASONS["RUN_CANCELLED"], "The run was cancelled.")


def cut_short() -> ApiError:
    """The answer where a run's events ended without telling how the run did."""
    return ApiError(502, SERVER_ERROR, "stream_cut_short", "The server stopped in the middle of the run.")


def run_gone() -> ApiError:
    """The answer where a run was lost with its server: one that is not stored lives in that process alone."""
    return run_interrupted("The server was lost in the middle of the run. Please send the request again.")


def run_interrupted(message: str) -> ApiError:
    """The answer where a run, or this reader's part of it, was broken off with its server."""
    return _from_kind(REASONS["RUN_INTERRUPTED"], message)


def server_lost(error: grpc.aio.AioRpcError) -> bool:
    """Whether the server cannot be reached just now: another try may find it.

    CANCELLED is gRPC's own word to a call that comes at the very moment in which a server stops; ours never says it,
    and a call that is cancelled on this side raises CancelledError.
    """
    return error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def says_why(error: grpc.aio.AioRpcError) -> bool:
    """Whether a failed call was refused by the server; else the way to the server broke, and it may have got there."""
    return rpc_status.from_call(error) is not None


def error_of_end(event: event_pb2.RunEvent) -> ApiError | None:
    """The answer to a caller whose run ends with this event in failure; None for every other event."""
    match event.WhichOneof("kind"):
        case "run_failed":
            return run_failed(event.run_failed.error)
        case "run_cancelled":
            return run_cancelled()
        case _:
            return None


@contextmanager
def rpc_errors(field_to_param: FieldToParam = str) -> Iterator[None]:
    """Raise `ApiError` in place of a failed call's status."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise rpc_failed(error, field_to_param) from error


def rpc_failed(error: grpc.aio.AioRpcError, field_to_param: FieldToParam = str) -> ApiError:
    """The answer to a caller whose call the server refused, from the google.rpc.Status that came with it."""
    status = rpc_status.from_call(error)
    if status is None:
        return _without_details(error.code())
    reason, field, retry_after = "", "", None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason = info.reason
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            field = next((violation.field for violation in bad_request.field_violations), "")
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry_after = retry_info.retry_delay
    kind = REASONS.get(reason) or _by_status(error.code(), reason)
    answer = _from_kind(kind, status.message, field_to_param(field) if field else None, retry_after)
    answer.headers.update(rate_limits_in(error.trailing_metadata()))
    return answer


def _without_details(code: grpc.StatusCode) -> ApiError:
    """Our server always sends details; without them it was the transport that failed, in words not for callers."""
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return _from_kind(
            STATUSES[grpc.StatusCode.UNAVAILABLE],
            "The server cannot be reached just now. Please try again.",
            None,
            Duration(seconds=1),
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # gRPC's own limit of message size; limits of the server's come with details.
        return _from_kind(
            ErrorKind(413, INVALID_REQUEST, "body_too_large"), "The request is larger than the server takes."
        )
    kind = STATUSES.get(code, INTERNAL)
    return _from_kind(kind, f"The server answered {code.name}.")


def _by_status(code: grpc.StatusCode | None, reason: str) -> ErrorKind:
    kind = STATUSES.get(code, INTERNAL) if code else INTERNAL
    return kind if kind.code else kind._replace(code=reason.lower() or None)


def _from_kind(
    kind: ErrorKind, message: str, param: str | None = None, retry_after: Duration | None = None
) -> ApiError:
    headers: dict[str, str] = {}
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(retry_after.seconds + retry_after.nanos / 1e9)))
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return ApiError(kind.status, kind.type, kind.code, message, param or kind.param, headers=headers)
