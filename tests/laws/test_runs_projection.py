"""Laws of the runs stream beyond those of every dialect, for logs that Hypothesis makes up."""

from typing import Any

import msgspec
import pytest
from breezeway.v1 import event_pb2
from breezeway_shim.dialects.runs.objects import run_json
from breezeway_shim.dialects.runs.projection import RunsProjection
from breezeway_shim.fold import RunFold
from hypothesis import given

from tests.support.dialects import frames
from tests.support.generated_logs import cut_coarsely, cut_finely, run_logs
from tests.support.logs import log_names, read_log

Log = list[event_pb2.RunEvent]
TERMINAL = {"run.completed", "run.failed", "run.cancelled"}


def stream(log: Log) -> list[tuple[int, dict[str, Any]]]:
    """The id and the data of each frame."""
    read = []
    for frame in frames(RunsProjection(), log):
        number, data = frame.removesuffix(b"\n\n").split(b"\n")
        read.append((int(number.removeprefix(b"id: ")), msgspec.json.decode(data.removeprefix(b"data: "))))
    return read


def status(log: Log) -> dict[str, Any]:
    fold = RunFold()
    for event in log:
        fold.add(event)
    return run_json(fold.run)


def said(log: Log) -> str:
    return "".join(data["delta"] for _, data in stream(log) if data["event"] == "message.delta")


@given(log=run_logs())
def test_an_id_is_the_sequence_of_its_event_and_none_comes_twice(log: Log) -> None:
    times = {event.sequence: event.create_time.ToMicroseconds() / 1e6 for event in log}
    ids = [number for number, _ in stream(log)]
    assert ids == sorted(set(ids))
    for number, data in stream(log):
        assert data["run_id"] == log[0].run_id
        assert data["timestamp"] == pytest.approx(times[number], abs=1e-6)


@given(log=run_logs())
def test_a_stream_ends_with_its_one_terminal_event(log: Log) -> None:
    events = [data["event"] for _, data in stream(log)]
    assert [event for event in events if event in TERMINAL] == events[-1:]


@given(log=run_logs())
def test_the_end_of_the_stream_and_the_status_say_the_same(log: Log) -> None:
    (_, last), now = stream(log)[-1], status(log)
    assert last["event"] == f"run.{now['status']}"
    for name in set(last) & set(now) - {"run_id"}:
        assert last[name] == now[name]


@pytest.mark.parametrize("log", log_names())
def test_the_deltas_are_the_output(log: str) -> None:
    assert said(read_log(log)) == status(read_log(log))["output"]


@given(log=run_logs())
def test_cutting_text_otherwise_changes_nothing_but_the_deltas(log: Log) -> None:
    def kept(cut: Log) -> list[str]:
        return [data["event"] for _, data in stream(cut) if data["event"] != "message.delta"]

    assert kept(cut_finely(log)) == kept(log) == kept(cut_coarsely(log))
    assert said(cut_finely(log)) == said(log) == said(cut_coarsely(log))
