"""Frames are protobuf's own encoding of a batch."""

from breezeway.v1 import event_pb2, stream_service_pb2
from breezeway_server.events.framing import decode, frame, split
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.generated_logs import run_logs


def text_event(length: int) -> event_pb2.RunEvent:
    return event_pb2.RunEvent(text_delta=event_pb2.TextDelta(text="x" * length))


@given(log=run_logs())
def test_joined_frames_are_a_response_of_either_call(log: list[event_pb2.RunEvent]) -> None:
    joined = b"".join(map(frame, log))
    assert joined == stream_service_pb2.FollowRunResponse(events=log).SerializeToString()
    assert joined == stream_service_pb2.StreamRunResponse(events=log).SerializeToString()
    assert list(decode(joined)) == log


@given(lengths=st.lists(st.integers(0, 40_000), max_size=5))
@example(lengths=[0, 100, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16_375, 16_383, 16_384, 2_100_000])
def test_joined_frames_split_into_the_frames_they_were(lengths: list[int]) -> None:
    frames = [frame(text_event(length)) for length in lengths]
    assert list(split(b"".join(frames))) == frames


def test_nothing_splits_into_nothing() -> None:
    assert list(split(b"")) == []
    assert not decode(b"")
