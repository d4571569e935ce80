"""Frames of text deltas that are put together by hand are the ones that protobuf writes."""

from breezeway.v1 import event_pb2
from breezeway_server.events.framing import frame
from breezeway_server.events.text_frames import TextFrames
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(min_size=1).filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))


@given(
    run_id=st.text("0123456789abcdef", min_size=1, max_size=40),
    attempt=st.integers(1, 300),
    item_id=st.text("msg_0123456789abcdef", min_size=1, max_size=60),
    content_index=st.integers(0, 200),
    deltas=st.lists(
        st.tuples(st.integers(1, 2**40), st.integers(1_000_000_000, 2**62), TEXTS | st.just("x" * 20_000)),
        min_size=1,
        max_size=5,
    ),
)
def test_a_text_frame_is_what_protobuf_writes(
    run_id: str, attempt: int, item_id: str, content_index: int, deltas: list[tuple[int, int, str]]
) -> None:
    frames = TextFrames(run_id, attempt)
    head = frames.delta_head(item_id, content_index)
    for sequence, now, text in deltas:
        seconds, nanos = divmod(now, 1_000_000_000)
        event = event_pb2.RunEvent(
            run_id=run_id,
            sequence=sequence,
            create_time=Timestamp(seconds=seconds, nanos=nanos),
            attempt=attempt,
            text_delta=event_pb2.TextDelta(item_id=item_id, content_index=content_index, text=text),
        )
        assert frames.frame(sequence, now, head, text.encode()) == frame(event)
