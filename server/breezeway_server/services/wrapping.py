"""How an interceptor puts something around what serves a call."""

from collections.abc import Callable
from typing import Any

import grpc

from breezeway_server.services.context import Handler


def wrapped(handler: Handler, wrap: Callable[[Any], Any], deserialize: Callable[[bytes], Any] | None) -> Handler:
    """Return the handler of a call with one request, with `wrap` around its method and another deserializer."""
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(
            wrap(handler.unary_stream), deserialize, handler.response_serializer
        )
    return grpc.unary_unary_rpc_method_handler(wrap(handler.unary_unary), deserialize, handler.response_serializer)
