"""Laws of every dialect's projection, for logs that Hypothesis makes up."""

import pytest
from breezeway.v1 import event_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dialects import DIALECTS, frames
from tests.support.generated_logs import run_logs
from tests.support.golden import golden_path, transcript
from tests.support.logs import log_names

Log = list[event_pb2.RunEvent]
each_dialect = pytest.mark.parametrize("dialect", sorted(DIALECTS))


@each_dialect
@given(log=run_logs())
def test_the_same_log_gives_the_same_frames(dialect: str, log: Log) -> None:
    assert frames(DIALECTS[dialect](), log) == frames(DIALECTS[dialect](), log)


@each_dialect
@given(log=run_logs(), data=st.data())
def test_a_prefix_of_the_log_gives_a_prefix_of_the_frames(dialect: str, log: Log, data: st.DataObject) -> None:
    whole = frames(DIALECTS[dialect](), log)
    part = frames(DIALECTS[dialect](), log[: data.draw(st.integers(0, len(log)))])
    assert part == whole[: len(part)]


@each_dialect
@given(log=run_logs(), data=st.data())
def test_resume_sends_exactly_the_rest(dialect: str, log: Log, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(log)))
    first = DIALECTS[dialect]()
    sent = frames(first, log[:cut])
    # Another process folds from the start and skips as many frames as were sent.
    resumed = frames(DIALECTS[dialect](), log)[len(sent) :]
    assert resumed == frames(first, log[cut:])


@each_dialect
@given(log=run_logs())
def test_every_frame_is_one_event_of_server_sent_events(dialect: str, log: Log) -> None:
    for frame in frames(DIALECTS[dialect](), log):
        assert frame.endswith(b"\n\n")
        lines = frame[:-2].split(b"\n")
        assert all(line.startswith((b"data: ", b"event: ", b"id: ")) for line in lines)
        assert b"\r" not in frame


@each_dialect
@pytest.mark.parametrize("log", log_names())
def test_the_transcript_of_a_kept_log_is_golden(dialect: str, log: str) -> None:
    assert transcript(dialect, log) == golden_path(dialect, log).read_bytes()
