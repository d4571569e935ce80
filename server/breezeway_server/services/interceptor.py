"""The one place where errors of the domain become gRPC statuses."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from math import ceil
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from breezeway_server.errors import BreezewayError, InvalidRequest, NotFound, ResourceExhausted, Unavailable
from breezeway_server.services.context import Context, Handler
from breezeway_server.services.malformed import MALFORMED, malformed, tolerant
from breezeway_server.services.wrapping import wrapped

_logger = structlog.get_logger()

_DOMAIN = "breezeway"
_DETAILS_KEY = "grpc-status-details-bin"
_MAX_TEXT = 300


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends calls that raise a `BreezewayError` with its status, and whatever else they raise with INTERNAL."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            # An unknown method, or reflection, which sees to its own errors.
            return handler  # type: ignore[return-value] # None is how grpc is told that there is no such method
        return wrapped(handler, _guarded, tolerant(handler.request_deserializer))


def _guarded(behavior: Any) -> Any:
    async def guarded(request: Message, context: Context) -> Any:
        if request is MALFORMED:
            await abort(context, status_of(malformed()))
        try:
            return await behavior(request, context)
        except BreezewayError as error:
            await abort(context, status_of(error), metadata_of(error))
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - it is logged with its traceback there
            await abort(context, internal_status(error))

    return guarded


def internal_status(error: Exception) -> status_pb2.Status:
    """Return the status of a fault of ours: its traceback is logged, and an id that leads to it goes out."""
    # The caller's, where it gave one: then one id leads from the answer to all lines.
    request_id = structlog.contextvars.get_contextvars().get("request_id") or uuid.uuid4().hex
    _logger.error("internal_error", request_id=request_id, exc_info=error)
    message = f"Something went wrong inside; the server's log has the details under {request_id}."
    return status_pb2.Status(code=grpc.StatusCode.INTERNAL.value[0], message=message)


def status_of(error: BreezewayError) -> status_pb2.Status:
    """Return the error as a google.rpc.Status with ErrorInfo, and BadRequest or RetryInfo where they fit."""
    message = _short(error.message)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=_DOMAIN)]
    if isinstance(error, InvalidRequest | NotFound) and error.field:
        fault = error_details_pb2.BadRequest.FieldViolation(
            field=_short(error.field), description=message, reason=error.reason
        )
        details.append(error_details_pb2.BadRequest(field_violations=[fault]))
    if isinstance(error, ResourceExhausted | Unavailable):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(ceil(error.retry_after * 1000))
        details.append(retry)
    status = status_pb2.Status(code=error.code.value[0], message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _short(text: str) -> str:
    # Statuses travel in trailers, of which clients take 8 KiB by default; names in a message may be of any length.
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def metadata_of(error: BreezewayError) -> Sequence[tuple[str, str]]:
    """Return what goes along with the status."""
    return error.metadata if isinstance(error, ResourceExhausted) else ()


async def abort(context: Context, status: status_pb2.Status, metadata: Sequence[tuple[str, str]] = ()) -> NoReturn:
    """End a call with a status and its details; `metadata` goes along."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, (*metadata, (_DETAILS_KEY, status.SerializeToString())))
