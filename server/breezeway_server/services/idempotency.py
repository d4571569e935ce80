"""Request ids as callers give them: what makes two calls the same."""

import hashlib

from google.protobuf.message import Message


def body_hash(call: Message) -> bytes:
    """Return the SHA-256 of a creating call but for its `request_id`; calls of different kinds are never the same."""
    body = type(call)()
    body.CopyFrom(call)
    body.ClearField("request_id")
    kind = call.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(kind + b"\n" + body.SerializeToString(deterministic=True)).digest()
