"""Framing: an event is encoded once, and those bytes go to the store and to every reader.

A frame is one element of `repeated RunEvent events = 1`: tag, length, message. Frames that are joined are therefore a
`StreamRunResponse` or `FollowRunResponse` as they are, and so are the rows of a store, joined.
"""

from collections.abc import Iterator, Sequence

from breezeway.v1 import event_pb2, stream_service_pb2

_TAG = b"\x0a"  # field 1, length-delimited
# The shorter ones of `varint`, by number: most lengths and sequences are among them.
SHORT_VARINTS = (
    *(bytes([number]) for number in range(0x80)),
    *(bytes([number & 0x7F | 0x80, number >> 7]) for number in range(0x80, 0x4000)),
)
_LONG = len(SHORT_VARINTS)


def frame(event: event_pb2.RunEvent) -> bytes:
    """Return the event as one frame."""
    return element(event.SerializeToString())


def element(body: bytes) -> bytes:
    """Return an encoded message as one element of a repeated field 1."""
    size = len(body)
    return _TAG + (SHORT_VARINTS[size] if size < _LONG else varint(size)) + body


def varint(number: int) -> bytes:
    """Return a number from 0 up in protobuf's base 128."""
    if number < _LONG:
        return SHORT_VARINTS[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def split(frames: bytes) -> Iterator[bytes]:
    """Yield the single frames of frames that were joined."""
    start, end = 0, len(frames)
    while start < end:
        at, length, shift = start + 1, 0, 0
        while True:
            byte = frames[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        at += length
        yield frames[start:at]
        start = at


def decode(frames: bytes) -> Sequence[event_pb2.RunEvent]:
    """Return the events of frames that were joined."""
    return stream_service_pb2.FollowRunResponse.FromString(frames).events
