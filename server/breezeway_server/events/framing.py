"""Framing: an event is encoded once, and those bytes go to the store and to every reader.

A frame is one element of `repeated RunEvent events = 1`: tag, length, message. Frames that are joined are therefore a
`StreamRunResponse` or `FollowRunResponse` as they are, and so are the rows of a store, joined.
"""

from collections.abc import Iterator, Sequence

from breezeway.v1 import event_pb2, stream_service_pb2

_TAG = b"\x0a"  # field 1, length-delimited
_SHORT = tuple(_TAG + bytes([length]) for length in range(0x80))


def frame(event: event_pb2.RunEvent) -> bytes:
    """Return the event as one frame."""
    return element(event.SerializeToString())


def element(body: bytes) -> bytes:
    """Return an encoded message as one element of a repeated field 1."""
    length = len(body)
    if length < 0x80:
        return _SHORT[length] + body
    header = bytearray(_TAG)
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    return bytes(header) + body


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
