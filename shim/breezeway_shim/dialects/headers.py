"""Headers that say which run and which conversation, in the words of those who use them, and how the run is to be."""

from typing import NamedTuple

from aiohttp import web
from breezeway.v1 import run_pb2, stream_service_pb2
from multidict import istr

from breezeway_shim.errors import RequestError

# The first is ours; the others are what clients of other servers send, and get back.
CONVERSATION_HEADERS = (
    istr("X-Conversation-Id"),
    istr("X-Hermes-Session-Id"),
    istr("X-OpenHands-ServerConversation-ID"),
)
_ON_DISCONNECT = istr("X-On-Disconnect")
_CONVERSATION_BUSY = istr("X-Conversation-Busy")
_IDEMPOTENCY_KEY = istr("Idempotency-Key")

_DISCONNECT = {
    "cancel": stream_service_pb2.DISCONNECT_POLICY_CANCEL,
    "continue": stream_service_pb2.DISCONNECT_POLICY_CONTINUE,
}
_BUSY = {
    "reject": run_pb2.BUSY_POLICY_REJECT,
    "queue": run_pb2.BUSY_POLICY_QUEUE,
    "interrupt": run_pb2.BUSY_POLICY_INTERRUPT,
}


class RunOptions(NamedTuple):
    """What headers say of a run that is to be created; empty and unspecified where they say nothing."""

    conversation_id: str = ""
    request_id: str = ""
    on_disconnect: stream_service_pb2.DisconnectPolicy.ValueType = stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED
    busy_policy: run_pb2.BusyPolicy.ValueType = run_pb2.BUSY_POLICY_UNSPECIFIED

    def leaving(self, spec: run_pb2.RunSpec) -> stream_service_pb2.DisconnectPolicy.ValueType:
        """What it means for the run when its caller leaves.

        Where that is not said: a run that is stored goes on, and so does one with an idempotency key, because whoever
        gives a key may come back with it; any other is cancelled.
        """
        if self.on_disconnect != stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED:
            return self.on_disconnect
        if spec.durability == run_pb2.DURABILITY_MEMORY and not self.request_id:
            return stream_service_pb2.DISCONNECT_POLICY_CANCEL
        return stream_service_pb2.DISCONNECT_POLICY_CONTINUE


def run_options(request: web.Request) -> RunOptions:
    """What the headers of a request say. Raises `RequestError` naming the header at fault."""
    on_disconnect = text_header(request, _ON_DISCONNECT)
    if on_disconnect and on_disconnect not in _DISCONNECT:
        raise RequestError("The header X-On-Disconnect must be cancel or continue.", code="invalid_value")
    return RunOptions(
        conversation_id=conversation_in(request),
        request_id=request_id_in(request),
        on_disconnect=_DISCONNECT.get(on_disconnect, stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED),
        busy_policy=busy_policy_of(text_header(request, _CONVERSATION_BUSY), "The header X-Conversation-Busy"),
    )


def request_id_in(request: web.Request) -> str:
    """The caller's own name for what is to be created; empty where there is none. Raises `RequestError`."""
    return text_header(request, _IDEMPOTENCY_KEY)


def busy_policy_of(text: str, place: str, param: str | None = None) -> run_pb2.BusyPolicy.ValueType:
    """What to do where the conversation is busy; unspecified for an empty text. Raises `RequestError`."""
    if text and text not in _BUSY:
        raise RequestError(f"{place} must be reject, queue or interrupt.", param, code="invalid_value")
    return _BUSY.get(text, run_pb2.BUSY_POLICY_UNSPECIFIED)


def text_header(request: web.Request, name: istr) -> str:
    """The value of a header; empty where there is none. Raises `RequestError` for what is no printable ASCII."""
    value = request.headers.get(name, "")
    if not (value.isascii() and value.isprintable()):
        raise RequestError(f"The header {name} may hold printable ASCII characters only.")
    return value


def conversation_in(request: web.Request) -> str:
    """The conversation that a header of the request names; empty where none does. Raises `RequestError`."""
    return text_header(request, _conversation_header(request))


def conversation_headers(request: web.Request) -> dict[str, str]:
    """The conversation that a header of the request names, for an answer that knows no more of it."""
    name = _conversation_header(request)
    named = request.headers.get(name)
    return {} if named is None else {name: named}


def run_headers(request: web.Request, run_id: str, spec: run_pb2.RunSpec) -> dict[str, str]:
    """The headers that a run's first event fills; the conversation under the name by which it was asked for."""
    headers: dict[str, str] = {"X-Run-Id": run_id}
    if spec.conversation_id:
        headers[_conversation_header(request)] = spec.conversation_id
    return headers


def _conversation_header(request: web.Request) -> istr:
    """The name of the header that names the conversation, ours where none does."""
    for name in CONVERSATION_HEADERS:
        if request.headers.get(name):
            return name
    return CONVERSATION_HEADERS[0]
