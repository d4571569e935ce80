"""The frames of text deltas, put together from bytes that are known beforehand.

Most events of a run are text deltas, and of each only the sequence, the time and the text are new. Building and
encoding the messages costs several times what these few bytes do; a law says that both are the same.
"""

from breezeway.v1 import event_pb2

from breezeway_server.events.framing import SHORT_VARINTS, element, varint

_NANOS = 1_000_000_000
# From here on a varint has five bytes; no fraction of a second has six.
_FIVE_BYTES = 1 << 28


class TextFrames:
    """Makes the frames of one run's text deltas, of one attempt."""

    __slots__ = ("_attempt", "_head", "_second", "_time")

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
        if nanos >= _FIVE_BYTES:
            # What nearly all fractions of a second are, in one step.
            time = b"%b\x10%b" % (
                self._time,
                (
                    nanos & 0x7F
                    | (nanos & 0x3F80) << 1
                    | (nanos & 0x1FC000) << 2
                    | (nanos & 0xFE00000) << 3
                    | (nanos & 0x70000000) << 4
                    | 0x80808080
                ).to_bytes(5, "little"),
            )
        else:
            time = self._time + b"\x10" + varint(nanos) if nanos else self._time
        try:
            size = SHORT_VARINTS[len(text)]
            delta_size = SHORT_VARINTS[len(delta_head) + len(size) + len(text)]
            number = SHORT_VARINTS[sequence]
        except IndexError:
            size = varint(len(text))
            delta_size = varint(len(delta_head) + len(size) + len(text))
            number = varint(sequence)
        return element(
            b"%b%b\x1a%c%b%b%b%b%b%b"
            % (self._head, number, len(time), time, self._attempt, delta_size, delta_head, size, text)
        )
