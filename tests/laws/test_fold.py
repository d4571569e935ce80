"""Laws of the fold, for logs that Hypothesis makes up."""

from breezeway.v1 import event_pb2
from breezeway_server.events.fold import RunFold, fold
from breezeway_server.events.legal import TERMINAL_STATES
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.generated_logs import cut_coarsely, cut_finely, run_logs

Log = list[event_pb2.RunEvent]


@settings(max_examples=50)
@given(log=run_logs())
def test_a_legal_log_ends_in_a_terminal_state(log: Log) -> None:
    folded = fold(log[0].run_id, log)
    assert folded.over
    assert folded.state in TERMINAL_STATES
    assert folded.last_sequence == len(log)
    assert not list(folded.open)


@settings(max_examples=50)
@given(log=run_logs())
def test_output_is_the_completed_items_in_the_order_in_which_they_began(log: Log) -> None:
    begun = [event.item_started.item.id for event in log if event.HasField("item_started")]
    ended = {
        event.item_completed.item.id: event.item_completed.item for event in log if event.HasField("item_completed")
    }
    assert list(fold(log[0].run_id, log).snapshot().output) == [ended[item_id] for item_id in begun]


@settings(max_examples=50)
@given(log=run_logs())
def test_a_completed_item_is_the_sum_of_its_deltas(log: Log) -> None:
    folded = RunFold(log[0].run_id)
    for event in log:
        if event.HasField("item_completed"):
            said = event.item_completed.item
            # What a tool gave back comes whole, with the end of its item.
            if not said.HasField("function_call_output"):
                assert folded.opened(said.id).close(said.status, said.incomplete_reason) == said
        folded.apply(event)


@settings(max_examples=50)
@given(log=run_logs(), data=st.data())
def test_a_fold_that_was_looked_at_on_the_way_is_the_same_in_the_end(log: Log, data: st.DataObject) -> None:
    looked_at = RunFold(log[0].run_id)
    for event in log:
        looked_at.apply(event)
        if data.draw(st.booleans()):
            snapshot = looked_at.snapshot()
            assert snapshot.last_sequence == event.sequence
            assert len(snapshot.output) == looked_at.begun
    assert looked_at.snapshot() == fold(log[0].run_id, log).snapshot()


@settings(max_examples=50)
@given(log=run_logs())
def test_cutting_the_text_otherwise_changes_nothing_but_the_count(log: Log) -> None:
    runs = [fold(log[0].run_id, events).snapshot() for events in (log, cut_finely(log), cut_coarsely(log))]
    for run in runs:
        run.ClearField("last_sequence")
    assert runs[0] == runs[1] == runs[2]
