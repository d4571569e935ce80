"""Spans of gRPC calls, in the words of OpenTelemetry's conventions; both ends of a call use them."""

import grpc
from breezeway.telemetry.traces import Kind, Span


def begin_call(place: Span, method: str, kind: Kind) -> Span:
    """Begin the span of a call of `/package.Service/Method`."""
    name = method.removeprefix("/")
    return place.begin(name, kind, {"rpc.system.name": "grpc", "rpc.method": name})


def end_call(span: Span, code: grpc.StatusCode) -> None:
    """End it with the call's status."""
    span.note({"rpc.response.status_code": code.name})
    span.end("" if code is grpc.StatusCode.OK else code.name)
