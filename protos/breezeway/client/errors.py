"""The one exception of the client, and how a failed call becomes it."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


class BreezewayError(Exception):
    """A call that the server refused, or a server that could not be reached.

    `reason` is a word of docs/errors.md, or empty where the server did not answer; `field` is the path of the
    request's field at fault, or empty; `retry_after` is in seconds, None where it is not known.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.field = field
        self.retry_after = retry_after


def error_of(failed: grpc.RpcError) -> BreezewayError:
    """The exception for a call that failed, from the google.rpc.Status that came with it."""
    status = rpc_status.from_call(failed)
    if status is None:
        return BreezewayError(code_of(failed), failed.details() or "")
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
            retry_after = retry_info.retry_delay.ToMicroseconds() / 1e6
    return BreezewayError(code_of(failed), status.message, reason=reason, field=field, retry_after=retry_after)


def code_of(failed: grpc.RpcError) -> grpc.StatusCode:
    """The status of a call that failed."""
    code: grpc.StatusCode = failed.code()
    return code


def lost(failed: grpc.RpcError) -> bool:
    """Whether the server cannot be reached just now, so that another try may find it.

    CANCELLED is gRPC's own word to a call that comes at the very moment in which a server stops.
    """
    return code_of(failed) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
