"""Server streams over HTTP: as server-sent events that can be resumed, or as JSON lines.

The convention by which a stream can be resumed: the streamed message has repeated `events`, each with a `sequence`,
and the request of a call that can start in the middle has `after_sequence`. A frame then carries the sequence of its
last event as `id:`, and `Last-Event-ID` sets `after_sequence`.
"""

from collections.abc import Callable
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from breezeway_shim.errors import ApiError
from breezeway_shim.sse import data_frame, event_frame
from breezeway_shim.transcoding.faults import Fault
from breezeway_shim.transcoding.json_in import merge_json

EVENT_STREAM = "text/event-stream"
JSON_LINES = ("application/x-ndjson", "application/jsonl")


class Framing(NamedTuple):
    """How messages become bytes. `keeps_alive` tells whether comments may stand between the frames."""

    content_type: str
    frame: Callable[[Message, bytes], bytes]
    error_frame: Callable[[ApiError], bytes]
    keeps_alive: bool


def framing_of(accept: str, message: Descriptor) -> Framing:
    """Return the framing for messages of this kind that an Accept header prefers; server-sent events by default."""
    wanted = _preferred(accept)
    if wanted in JSON_LINES:
        return Framing(wanted, lambda _, json: json + b"\n", _error_line, keeps_alive=False)
    frame = _numbered_frame if has_sequences(message) else _plain_frame
    return Framing(EVENT_STREAM, frame, _error_event, keeps_alive=True)


def has_sequences(message: Descriptor) -> bool:
    """Tell whether the streamed message carries numbered events."""
    events = message.fields_by_name.get("events")
    return (
        events is not None
        and events.is_repeated
        and events.message_type is not None
        and "sequence" in events.message_type.fields_by_name
    )


def resume(request: Message, last_event_id: str | None) -> None:
    """Let the request start after the event of that id, where there is one. Raises `Fault` where it cannot."""
    if not last_event_id:
        return
    if "after_sequence" not in request.DESCRIPTOR.fields_by_name:
        raise Fault("Last-Event-ID", "cannot be taken up by a call that starts from the beginning")
    if not (last_event_id.isascii() and last_event_id.isdigit()):
        raise Fault("Last-Event-ID", "must be the number of an event")
    # It is newer than what the URL says, which a browser repeats as it was.
    merge_json(request, {"after_sequence": last_event_id})


def _preferred(accept: str) -> str:
    """The media type, among those that we have, with the highest quality; of equals the first."""
    best, best_quality = EVENT_STREAM, 0.0
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((_quality(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
        if media_type in {EVENT_STREAM, *JSON_LINES} and quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _plain_frame(_: Message, json: bytes) -> bytes:
    return data_frame(json)


def _numbered_frame(message: Message, json: bytes) -> bytes:
    events = message.events  # type: ignore[attr-defined]  # has_sequences has seen that it is there
    return b"id: %d\n" % events[-1].sequence + data_frame(json) if events else data_frame(json)


def _error_event(error: ApiError) -> bytes:
    return event_frame("error", error.body())


def _error_line(error: ApiError) -> bytes:
    return b'{"error":' + error.body() + b"}\n"
