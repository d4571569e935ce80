"""Runs in a store: what their log says, listed, annotated and deleted."""

import asyncio
from pathlib import Path

import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway_server.events.fold import RunFold
from breezeway_server.events.log_store import NewRun
from breezeway_server.events.run_log import RunLog
from breezeway_server.store.base import RunFilter, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.store.builders import ALL, NOW, StoredRun, append, begun, ended
from tests.server.store.conftest import STORES
from tests.support.agents import said
from tests.support.generated_logs import run_logs

Log = list[event_pb2.RunEvent]


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_stored_run_is_the_fold_of_its_log_and_its_input(name: str, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(_opened(name, tmp_path))

        @settings(max_examples=40)
        @given(log=run_logs(), cuts=st.sets(st.integers(1, 40), max_size=4))
        def law(log: Log, cuts: set[int]) -> None:
            runner.run(_check(store, log, cuts))

        law()
        runner.run(store.close())


async def _opened(name: str, directory: Path) -> Store:
    return await STORES[name](directory)


async def _check(store: Store, log: Log, cuts: set[int]) -> None:
    run_id, put_in = log[0].run_id, [said("hello")]
    put_in[0].id, put_in[0].run_id = f"msg_{run_id[4:]}ffffff", run_id
    folded, run_log = RunFold(run_id, put_in), RunLog(run_id, 1, logged=True)
    new: NewRun | None = NewRun(tenant="t", spec=log[0].run_queued.spec, input=put_in, create_time_ns=NOW)
    due = False
    for event in log:
        if due and (event.sequence in cuts or event.attempt != run_log.attempt):
            assert not await store.append([run_log.take()])
            assert await store.get_run("t", run_id) == folded.snapshot()
            due = False
        if event.attempt != run_log.attempt:
            assert await store.claim(run_id, run_log.attempt)
            run_log.attempt = event.attempt
        folded.apply(event)
        due |= run_log.put(event, folded, new)
        new = None
    assert not await store.append([run_log.take()])
    assert await store.get_run("t", run_id) == folded.snapshot()
    (listed,) = await store.list_runs("t", RunFilter())
    assert listed == folded.snapshot()
    # All examples have the same run id.
    assert await store.delete_run("t", run_id)


async def ids(store: Store, **query: object) -> list[str]:
    found = await store.list_runs("t", RunFilter(**query))  # type: ignore[arg-type] # the filter's fields by name
    return [run.id for run in found]


async def test_runs_are_listed_newest_first_or_oldest_first(store: Store) -> None:
    made = [(await ended(store)).id for _ in range(5)]
    assert await ids(store) == made[::-1]
    assert await ids(store, ascending=True) == made


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_cover_the_list_whatever_comes_and_goes(store: Store, limit: int, ascending: bool) -> None:
    made = [(await ended(store)).id for _ in range(7)]
    wanted = made if ascending else made[::-1]
    got: list[str] = []
    while page := await ids(store, limit=limit, ascending=ascending, after_run_id=got[-1] if got else ""):
        got += page
        # The run that a page ended with may go.
        assert await store.delete_run("t", got[-1])
    assert got == wanted


async def test_every_filter_narrows_and_all_must_fit(store: Store) -> None:
    plain = await ended(store)
    agent = await ended(store, agent="b")
    dialect = await ended(store, dialect="responses")
    talk = await ended(store, conversation_id="talk")
    noted = await ended(store, metadata={"a": "1", "b": "2"})
    half = await ended(store, metadata={"a": "1", "b": "3"})
    running = await begun(store, metadata={"a": "1", "b": "2"})
    assert await ids(store, agent="b") == [agent.id]
    assert await ids(store, dialect="responses") == [dialect.id]
    assert await ids(store, conversation_id="talk") == [talk.id]
    assert await ids(store, metadata={"a": "1"}) == [running.id, half.id, noted.id]
    assert await ids(store, metadata={"a": "1", "b": "2"}) == [running.id, noted.id]
    assert await ids(store, metadata={"b": "1"}) == []
    assert await ids(store, states=[run_pb2.RUN_STATE_IN_PROGRESS]) == [running.id]
    both = [run_pb2.RUN_STATE_IN_PROGRESS, run_pb2.RUN_STATE_COMPLETED]
    assert len(await ids(store, states=both)) == 7
    assert await ids(store, states=both, metadata={"b": "2"}, after_run_id=running.id) == [noted.id]
    assert plain.id in await ids(store, agent="a")


async def test_a_listed_run_has_input_and_output(store: Store) -> None:
    over, running = await ended(store, answer="one"), await begun(store)
    running.writer.text(running.writer.message(), "hal")
    await append(store, running)
    assert await store.list_runs("t", RunFilter(ascending=True)) == [over.run(), running.run()]


async def test_metadata_is_replaced_for_readers_and_for_filters(store: Store) -> None:
    over, running = await ended(store, metadata={"a": "1"}), await begun(store)
    for run in (over, running):
        assert await store.update_run_metadata("t", run.id, {"b": "2"})
        found = await store.get_run("t", run.id)
        assert found is not None
        assert dict(found.spec.metadata) == {"b": "2"}
    assert await ids(store, metadata={"a": "1"}) == []
    assert await ids(store, metadata={"b": "2"}) == [running.id, over.id]
    assert await store.update_run_metadata("t", over.id, {})
    assert await ids(store, metadata={"b": "2"}) == [running.id]
    # The end of a run does not bring the old ones back.
    running.writer.completed(run_pb2.Usage())
    await append(store, running)
    found = await store.get_run("t", running.id)
    assert found is not None
    assert dict(found.spec.metadata) == {"b": "2"}


async def test_a_run_that_is_not_there_is_nowhere(store: Store) -> None:
    nowhere = "run_" + "0" * 32
    assert await store.get_run("t", nowhere) is None
    assert await store.run_head("t", nowhere) is None
    assert not await store.update_run_metadata("t", nowhere, {})
    assert not await store.delete_run("t", nowhere)
    assert await store.list_run_items("t", nowhere, ALL, output=True) is None


async def test_deleting_a_run_takes_all_that_is_its_own(store: Store) -> None:
    await store.append([])
    run = await ended(store, request_id="key", metadata={"a": "1"}, conversation_id="talk")
    other = await ended(store, request_id="other", metadata={"a": "1"}, conversation_id="talk")
    assert await store.delete_run("t", run.id)
    assert not await store.delete_run("t", run.id)
    assert await store.get_run("t", run.id) is None
    assert await store.read_events(run.id, 0, 1) == []
    assert await store.find_request("t", "key") is None
    assert await store.list_run_items("t", run.id, ALL, output=False) is None
    assert await store.find_items("t", [item.id for item in (*run.run().output, *run.input)]) == {}
    assert await ids(store, metadata={"a": "1"}) == [other.id]
    assert await store.get_run("t", other.id) == other.run()
    page = await store.list_conversation_items("t", "talk", ALL)
    assert page is not None
    assert page[0] == [*other.input, *other.run().output]


async def test_leave_is_remembered_in_its_scope(store: Store) -> None:
    await store.grant("t", "a", "shell", "talk")
    await store.grant("t", "a", "shell", "talk")
    await store.grant("t", "a", "fetch", "")
    assert await store.granted("t", "a", "shell", "talk")
    assert not await store.granted("t", "a", "shell", "other")
    assert not await store.granted("t", "b", "shell", "talk")
    assert not await store.granted("other", "a", "shell", "talk")
    assert await store.granted("t", "a", "fetch", "any")
    assert not await store.granted("other", "a", "fetch", "any")


async def test_a_large_run_is_stored(store: Store) -> None:
    run = StoredRun(text="x" * 5_000_000)
    run.writer.started()
    run.say("y" * 5_000_000)
    run.writer.completed(run_pb2.Usage())
    await append(store, run)
    assert await store.get_run("t", run.id) == run.run()


async def test_text_is_kept_to_the_byte(store: Store) -> None:
    text = "\x00 \u2028 \U0001f3d7\ufe0f \ufffe nul and beyond"
    run = await ended(store, "t", text, answer=text, metadata={text: text}, agent=text, request_id=text)
    assert await store.get_run("t", run.id) == run.run()
    assert await ids(store, agent=text, metadata={text: text}) == [run.id]
    assert await store.find_request("t", text) is not None
