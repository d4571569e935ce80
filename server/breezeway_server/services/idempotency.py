"""Request ids as callers give them: what makes two calls the same."""

import hashlib
import time

from breezeway.v1 import agent_registry_service_pb2, job_service_pb2, store_service_pb2
from google.protobuf.message import Message

from breezeway_server.services import validation
from breezeway_server.store.base import Request

_Creating = (
    store_service_pb2.CreateConversationRequest
    | store_service_pb2.CreateConversationItemsRequest
    | job_service_pb2.CreateJobRequest
    | agent_registry_service_pb2.CreateAgentRequest
)


def body_hash(call: Message) -> bytes:
    """Return the SHA-256 of a creating call but for its `request_id`; calls of different kinds are never the same."""
    body = type(call)()
    body.CopyFrom(call)
    body.ClearField("request_id")
    kind = call.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(kind + b"\n" + body.SerializeToString(deterministic=True)).digest()


def request_of(call: _Creating) -> Request | None:
    """Return what a repeat of the call is known by; None where it has no request id. Raises `InvalidRequest`."""
    request_id = validation.request_id(call.request_id)
    return Request(request_id, body_hash(call), time.time_ns()) if request_id else None
