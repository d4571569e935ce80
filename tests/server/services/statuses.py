"""Reading what a failed call says."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass
class Refusal:
    """A status, unpacked; `retry_after` is in seconds."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    field: str = ""
    retry_after: float | None = None


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What the error says."""
    refusal = Refusal(error.code(), error.details() or "")
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        for kind in (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()):
            if detail.Unpack(kind):
                _take(refusal, kind)
    return refusal


def _take(refusal: Refusal, detail: Any) -> None:
    match detail:
        case error_details_pb2.ErrorInfo():
            refusal.reason, refusal.domain = detail.reason, detail.domain
        case error_details_pb2.BadRequest():
            (fault,) = detail.field_violations
            assert fault.description == refusal.message
            assert fault.reason == refusal.reason
            refusal.field = fault.field
        case error_details_pb2.RetryInfo():
            refusal.retry_after = detail.retry_delay.ToNanoseconds() / 1e9


async def refused(call: Awaitable[Any]) -> Refusal:
    """What a call that must fail says."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    refusal = refusal_of(raised.value)
    assert refusal.domain == ("breezeway" if refusal.reason else "")
    return refusal
