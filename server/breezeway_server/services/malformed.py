"""Requests whose bytes are no message: grpcio takes them for a fault of ours, and they are their sender's."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import DecodeError

from breezeway_server.errors import InvalidRequest

MALFORMED: Final = object()
"""Stands for a request that cannot be read."""


def tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """The deserializer, giving `MALFORMED` for what it cannot read; None, which leaves bytes alone, stays None."""
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return MALFORMED

    return read


def malformed() -> InvalidRequest:
    """The refusal of such a request."""
    return InvalidRequest("", "The bytes of the request are no message of the type that this method takes.")
