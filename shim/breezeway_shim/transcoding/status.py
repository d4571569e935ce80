"""Errors as google.rpc.Status: from faults, from what the shim refuses, and from the server's failed calls."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import grpc
import msgspec
from google.protobuf import descriptor_pool, json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from google.rpc.code_pb2 import Code
from grpc_status import rpc_status

from breezeway_shim.errors import INTERNAL, INVALID_REQUEST, STATUSES, ApiError, rpc_failed
from breezeway_shim.transcoding.faults import Fault

# What gRPC's own libraries never answer, so that the words with it are the server's and meant for callers:
# https://grpc.io/docs/guides/status-codes/.
_ALWAYS_THE_SERVERS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_CODES = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    413: Code.RESOURCE_EXHAUSTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
}


class StatusError(ApiError):
    """Answered with an HTTP status and a google.rpc.Status as JSON."""

    def __init__(
        self,
        http_status: int,
        status: status_pb2.Status,
        *,
        headers: Mapping[str, str] | None = None,
        pool: descriptor_pool.DescriptorPool | None = None,
    ) -> None:
        super().__init__(http_status, INVALID_REQUEST, None, status.message, headers=headers)
        self._status = status
        self._pool = pool

    def body(self) -> bytes:
        """`{"code", "message", "details"}` as JSON."""
        details = [_detail(detail, self._pool) for detail in self._status.details]
        return msgspec.json.encode({"code": self._status.code, "message": self._status.message, "details": details})


class RefusedRequest(StatusError):
    """A fault of the request that was found before the server saw who is calling."""


def invalid_argument(fault: Fault) -> RefusedRequest:
    """The answer to a faulty request; a BadRequest names the path of the fault."""
    status = status_pb2.Status(code=Code.INVALID_ARGUMENT, message=str(fault))
    violation = error_details_pb2.BadRequest.FieldViolation(field=fault.path, description=str(fault))
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return RefusedRequest(400, status)


def no_such_path(path: str) -> StatusError:
    """The answer where nothing is served."""
    message = f"There is no {path[:200]}; GET /openapi.json lists what there is."
    return StatusError(404, status_pb2.Status(code=Code.NOT_FOUND, message=message))


def no_such_method(method: str, path: str, allowed: str) -> StatusError:
    """The answer to a method that a path does not have; `allowed` are those that it has, with commas in between."""
    message = f"{method} is not possible on {path[:200]}; {allowed} is."
    return StatusError(405, status_pb2.Status(code=Code.UNIMPLEMENTED, message=message), headers={"Allow": allowed})


def as_status(error: ApiError) -> StatusError:
    """What another part of the shim refused, in this form."""
    code = _CODES.get(error.status, Code.INVALID_ARGUMENT)
    status = status_pb2.Status(code=code, message=error.message)
    kind = RefusedRequest if code == Code.INVALID_ARGUMENT else StatusError
    return kind(error.status, status, headers=error.headers)


def no_json(rpc: str) -> StatusError:
    """The answer where the server's own has no JSON form, because it holds a message of an unknown type."""
    status = status_pb2.Status(code=Code.INTERNAL, message=f"What {rpc} answered cannot be written as JSON.")
    return StatusError(INTERNAL.status, status)


def call_failed(error: grpc.aio.AioRpcError, pool: descriptor_pool.DescriptorPool) -> StatusError:
    """The answer to a caller whose call failed; `pool` knows the messages of its details."""
    code = error.code()
    http_status = STATUSES.get(code, INTERNAL).status
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        # Details that contradict the status that they came with; the status stands.
        status = status_pb2.Status(code=code.value[0], message=f"The server answered {code.name}.")
        return StatusError(http_status, status)
    told = rpc_failed(error)
    if status is not None:
        return StatusError(http_status, status, headers=told.headers, pool=pool)
    if code in _ALWAYS_THE_SERVERS:
        return StatusError(http_status, status_pb2.Status(code=code.value[0], message=error.details() or code.name))
    status = status_pb2.Status(code=code.value[0], message=told.message)
    return StatusError(told.status, status, headers=told.headers)


def _detail(detail: AnyMessage, pool: descriptor_pool.DescriptorPool | None) -> dict[str, Any]:
    # A foreign server may use the standard details without having them in its own pool.
    for known in (pool, descriptor_pool.Default()):
        try:
            decoded: dict[str, Any] = json_format.MessageToDict(detail, descriptor_pool=known)
        except (TypeError, DecodeError):
            continue
        return decoded
    return {"@type": detail.type_url, "value": b64encode(detail.value).decode()}
