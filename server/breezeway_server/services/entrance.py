"""Where calls come in: strangers are turned away before what they send is looked at."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from breezeway_server.errors import BreezewayError
from breezeway_server.services.access import Gate
from breezeway_server.services.caller import enter_call
from breezeway_server.services.context import Context, Handler
from breezeway_server.services.interceptor import abort, status_of


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Asks the gate about every call; the services then find who is calling as `current_caller`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler  # type: ignore[return-value] # None is how grpc is told that there is no such method
        try:
            # grpc serves the call in this very task.
            enter_call(self._gate.admit(handler_call_details.method, handler_call_details.invocation_metadata))
        except BreezewayError as error:
            return _refusing(error)
        return handler


def _refusing(error: BreezewayError) -> Handler:
    async def refuse(requests: AsyncIterator[Any], context: Context) -> None:  # noqa: ARG001 - grpc's interface
        await abort(context, status_of(error))

    # Whatever the call is, one of this kind does not wait for what the caller sends.
    return grpc.stream_stream_rpc_method_handler(refuse)
