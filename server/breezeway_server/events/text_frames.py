"""The frames of text deltas, put together from bytes that are known beforehand.

Most events of a run are text deltas, and of each only the sequence, the time and the text are new. Building and
encoding the messages costs several times what these few bytes do; a law says that both are the same.
"""

from breezeway.v1 import event_pb2

from breezeway_server.events.framing import element, varint

_NANOS = 1_000_000_000


class TextFrames:
    """Makes the frames of one run's text deltas, of one attempt."""

    def __init__(self, run_id: str, attempt: int) -> None:
        self._head = event_pb2.RunEvent(run_id=run_id).SerializeToString() + b"\x10"
        self._attempt = event_pb2.RunEvent(attempt=attempt).SerializeToString() + b"\x52"
        self._second = -1
        self._time = b""

    @staticmethod
    def delta_head(item_id: str, content_index: int) -> bytes:
        """Return what all deltas of one part have in common, for `frame`."""
        return event_pb2.TextDelta(item_id=item_id, content_index=content_index).SerializeToString() + b"\x1a"

    def frame(self, sequence: int, now_ns: int, delta_head: bytes, text: bytes) -> bytes:
        """Return the frame of a delta with this text in UTF-8, which is not empty; the time is in ns since 1970."""
        seconds, nanos = divmod(now_ns, _NANOS)
        if seconds != self._second:
            self._second = seconds
            self._time = b"\x08" + varint(seconds)
        time = self._time + b"\x10" + _nanos(nanos) if nanos else self._time
        size = varint(len(text))
        delta_size = len(delta_head) + len(size) + len(text)
        return element(
            b"%b%b\x1a%c%b%b%b%b%b%b"
            % (self._head, varint(sequence), len(time), time, self._attempt, varint(delta_size), delta_head, size, text)
        )


def _nanos(number: int) -> bytes:
    """Return what `varint` does, in one step for what nearly all fractions of a second are: five bytes long."""
    if number < 0x10000000:
        return varint(number)
    return (
        number & 0x7F
        | (number & 0x3F80) << 1
        | (number & 0x1FC000) << 2
        | (number & 0xFE00000) << 3
        | (number & 0x70000000) << 4
        | 0x80808080
    ).to_bytes(5, "little")
