"""Frames of a response's stream: named events whose `sequence_number` counts 0, 1, 2, ... without gaps."""

from collections.abc import Mapping

import msgspec

from breezeway_shim.errors import ApiError
from breezeway_shim.sse import event_frame


class FrameWriter:
    """Numbers the events of one stream and writes them as frames."""

    def __init__(self) -> None:
        self._next = 0

    @property
    def written(self) -> int:
        """How many events there were so far."""
        return self._next

    def next_number(self) -> int:
        """The number of the next event, which the caller writes."""
        number = self._next
        self._next = number + 1
        return number

    def frame(self, event: str, fields: Mapping[str, object]) -> bytes:
        """The frame of the next event."""
        data = {"type": event, "sequence_number": self.next_number(), **fields}
        return event_frame(event, msgspec.json.encode(data))


def error_frame(error: ApiError, number: int) -> bytes:
    """What a stream ends with that cannot go on: OpenAI's `error` event, flat, with `number` as its own."""
    data = {
        "type": "error",
        "sequence_number": number,
        "code": error.code,
        "message": error.message,
        "param": error.param,
    }
    return event_frame("error", msgspec.json.encode(data))
