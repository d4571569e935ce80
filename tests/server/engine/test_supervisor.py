"""The supervisor: admission, idempotency, conversations, and what is left of a run when it is over."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.steps import TextDelta
from breezeway_server.errors import (
    AlreadyExists,
    BreezewayError,
    ConversationLocked,
    CursorAhead,
    CursorExpired,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    TooManyRuns,
    Unavailable,
)
from breezeway_server.store.base import Store

from tests.support.agents import called, function_tool, returned, said
from tests.support.server import TENANT, PlainAgent, ScriptedAgent, Stack, kinds, run_spec, running, texts

MEMORY = run_pb2.DURABILITY_MEMORY
LOGGED = run_pb2.DURABILITY_LOGGED
QUEUE, INTERRUPT = run_pb2.BUSY_POLICY_QUEUE, run_pb2.BUSY_POLICY_INTERRUPT
BOTH = pytest.mark.parametrize("durability", [LOGGED, MEMORY], ids=["logged", "memory"])
NOWHERE = "run_" + "0" * 32


async def finished(stack: Stack, agent: ScriptedAgent, text: str = "hello", **spec: object) -> run_pb2.Run:
    """A run that has answered its own input."""
    run_id = await stack.supervisor.intake.create(TENANT, run_spec(**spec), [said(text)])
    agent.script(run_id).say(TextDelta(f"{text}!"))
    agent.script(run_id).end()
    return await stack.ended(run_id)


# Idempotency


@BOTH
async def test_the_same_request_is_the_same_run_while_it_runs_and_after(
    stack: Stack, agent: ScriptedAgent, durability: int
) -> None:
    run_id = await stack.create(request_id="key", request_hash=b"1", durability=durability)
    assert await stack.create(request_id="key", request_hash=b"1", durability=durability) == run_id
    agent.script(run_id).end()
    await stack.ended(run_id)
    assert await stack.create(request_id="key", request_hash=b"1", durability=durability) == run_id
    assert len(agent.script(run_id).contexts) == 1


async def test_repeats_that_come_at_once_are_one_run(stack: Stack, agent: ScriptedAgent) -> None:
    made = await asyncio.gather(
        *(stack.create(request_id="key", request_hash=b"1", conversation_id="talk") for _ in range(20))
    )
    assert len(set(made)) == 1
    agent.script(made[0]).end()
    assert (await stack.ended(made[0])).state == run_pb2.RUN_STATE_COMPLETED
    assert not stack.supervisor.intake._requests._locks, "no lock outlives its calls"


async def test_a_repeat_that_was_overtaken_by_the_end_of_the_run_is_that_run(tmp_path: Path) -> None:
    """The first run is begun, ends and is forgotten while the repeat is still being looked at."""

    class SlowHistory:
        """Holds up whoever asks for history until told."""

        def __init__(self, store: Store) -> None:
            self._store = store
            self.asked = asyncio.Event()
            self.answer = asyncio.Event()

        async def run_head(self, tenant: str, run_id: str) -> object:
            self.asked.set()
            await self.answer.wait()
            return await self._store.run_head(tenant, run_id)

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    slow: list[SlowHistory] = []

    def wrap(store: Store) -> Store:
        slow.append(SlowHistory(store))
        return slow[0]  # type: ignore[return-value] # the other methods are the store's own

    async with running(tmp_path, PlainAgent("scripted", TextDelta("hi")), wrap=wrap) as stack:
        slow[0].answer.set()
        root = await stack.create()
        await stack.ended(root)
        slow[0].answer.clear()
        slow[0].asked.clear()
        calls = [
            asyncio.create_task(stack.create(request_id="key", request_hash=b"1", previous_run_id=root))
            for _ in range(2)
        ]
        await slow[0].asked.wait()
        slow[0].answer.set()
        first, second = await asyncio.gather(*calls)
        assert first == second


async def test_the_same_id_with_another_body_is_refused(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create(request_id="key", request_hash=b"1")
    for _ in range(2):
        with pytest.raises(AlreadyExists) as raised:
            await stack.create(request_id="key", request_hash=b"2")
        assert raised.value.reason == "REQUEST_ID_REUSED"
        agent.script(run_id).end()
        await stack.ended(run_id)


async def test_a_repeat_is_known_after_a_restart(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        running_id = await stack.create(request_id="running", request_hash=b"1")
        over = await stack.create(request_id="over", request_hash=b"1")
        agent.script(over).end()
        await stack.ended(over)
    async with running(tmp_path, ScriptedAgent()) as stack:
        assert await stack.create(request_id="running", request_hash=b"1") == running_id
        assert await stack.create(request_id="over", request_hash=b"1") == over
        with pytest.raises(AlreadyExists):
            await stack.create(request_id="over", request_hash=b"2")


async def test_a_request_that_was_refused_may_come_again(stack: Stack) -> None:
    with pytest.raises(NotFound):
        await stack.create(request_id="key", request_hash=b"1", agent="nobody")
    assert await stack.create(request_id="key", request_hash=b"2")


async def test_tenants_have_request_ids_of_their_own(stack: Stack) -> None:
    made = {
        await stack.supervisor.intake.create(tenant, run_spec(), [said("hi")], request_id="key", request_hash=b"1")
        for tenant in ("one", "two")
    }
    assert len(made) == 2


# Admission


async def test_a_repeat_is_answered_although_there_is_no_room(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, max_runs=2) as stack:
        first = await stack.create(request_id="key", request_hash=b"1")
        await stack.create()
        with pytest.raises(TooManyRuns) as raised:
            await stack.create()
        assert raised.value.retry_after > 0
        assert await stack.create(request_id="key", request_hash=b"1") == first
        assert len(list(stack.supervisor.under_way)) == 2
        agent.script(first).end()
        await stack.ended(first)
        assert await stack.create()


async def test_admission_is_exact_under_a_burst(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, max_runs=5) as stack:
        results = await asyncio.gather(
            *(stack.create(conversation_id=f"talk{number}") for number in range(20)), return_exceptions=True
        )
        assert sum(isinstance(result, str) for result in results) == 5
        assert sum(isinstance(result, TooManyRuns) for result in results) == 15


async def refused(stack: Stack, items: Sequence[item_pb2.Item], **spec: object) -> BreezewayError:
    with pytest.raises(BreezewayError) as raised:
        await stack.supervisor.intake.create(TENANT, run_spec(**spec), items)
    return raised.value


IMAGE = item_pb2.Item(
    message=item_pb2.Message(
        role=item_pb2.ROLE_USER,
        content=[
            item_pb2.ContentPart(text=item_pb2.Text(text="look")),
            item_pb2.ContentPart(image=item_pb2.Image(url="https://example.com/x.png")),
        ],
    )
)
FILE_OUTPUT = item_pb2.Item(
    function_call_output=item_pb2.FunctionCallOutput(
        call_id="c1", content=[item_pb2.ContentPart(file=item_pb2.File(file_id="f"))]
    )
)


async def test_what_an_agent_does_not_take_is_refused_by_name(stack: Stack) -> None:
    for fields, items, field, reason in (
        ({"tools": [function_tool("f")]}, [said("hi")], "spec.tools", "INVALID_REQUEST"),
        ({"sampling": run_pb2.Sampling(n=2)}, [said("hi")], "spec.sampling.n", "INVALID_REQUEST"),
        ({}, [said("hi"), IMAGE], "input[1].message.content[1]", "UNSUPPORTED_CONTENT_TYPE"),
        ({}, [called("c1", "f"), FILE_OUTPUT], "input[1].function_call_output.content[0]", "UNSUPPORTED_CONTENT_TYPE"),
    ):
        error = await refused(stack, items, agent="plain", **fields)
        assert isinstance(error, InvalidRequest)
        assert (error.field, error.reason) == (field, reason)
    assert await stack.supervisor.intake.create(
        TENANT, run_spec(tools=[function_tool("f")], sampling=run_pb2.Sampling(n=2)), [said("hi")]
    )


async def test_an_alias_becomes_the_agents_name(stack: Stack) -> None:
    run = await stack.get(await stack.create(agent="other-name"))
    assert run.spec.agent == "scripted"
    error = await refused(stack, [said("hi")], agent="nobody")
    assert (type(error), error.reason) == (NotFound, "AGENT_NOT_FOUND")


async def test_a_run_goes_on_only_from_a_stored_one_that_is_over(stack: Stack, agent: ScriptedAgent) -> None:
    under_way = await stack.create()
    await stack.seen(under_way, "run_started")
    error = await refused(stack, [said("hi")], previous_run_id=under_way)
    assert (type(error), error.reason) == (FailedPrecondition, "PREVIOUS_RUN_NOT_OVER")
    memory = await finished(stack, agent, durability=MEMORY)
    for gone in (memory.id, NOWHERE):
        error = await refused(stack, [said("hi")], previous_run_id=gone)
        assert (type(error), error.reason) == (NotFound, "PREVIOUS_RUN_NOT_FOUND")


async def test_an_output_must_answer_a_call_before_it(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.supervisor.intake.create(TENANT, run_spec(), [said("hi"), called("c1", "add")])
    agent.script(run_id).end()
    await stack.ended(run_id)
    assert await stack.supervisor.intake.create(TENANT, run_spec(previous_run_id=run_id), [returned("c1", "3")])
    assert await stack.supervisor.intake.create(TENANT, run_spec(), [called("c2", "add"), returned("c2", "3")])
    for items, field in (
        ([returned("c1", "3")], "input[0].function_call_output.call_id"),
        ([said("hi"), returned("c2", "3"), called("c2", "add")], "input[1].function_call_output.call_id"),
    ):
        error = await refused(stack, items)
        assert isinstance(error, InvalidRequest)
        assert (error.field, error.reason) == (field, "CALL_NOT_FOUND")


async def test_a_reference_stands_for_the_item(stack: Stack, agent: ScriptedAgent) -> None:
    first = await finished(stack, agent, "1?")
    reference = item_pb2.Item(item_reference=item_pb2.ItemReference(id=first.output[0].id))
    run = await stack.get(await stack.supervisor.intake.create(TENANT, run_spec(), [reference, said("2?")]))
    assert texts(run.input) == ["1?!", "2?"]
    assert run.input[0].id != first.output[0].id
    assert {item.run_id for item in run.input} == {run.id}
    reference.item_reference.id = "msg_nonsense"
    error = await refused(stack, [reference])
    assert (type(error), error.reason) == (NotFound, "ITEM_NOT_FOUND")
    assert "input[0]" in error.message


async def test_input_is_whole_and_the_servers_own(stack: Stack) -> None:
    item = said("hi")
    item.id, item.run_id, item.status = "msg_mine", "run_mine", item_pb2.ITEM_STATUS_IN_PROGRESS
    item.incomplete_reason = item_pb2.INCOMPLETE_REASON_INTERRUPTED
    item.create_time.seconds = 1
    call = called("c1", "add", executor=item_pb2.EXECUTOR_UNSPECIFIED)
    run = await stack.get(await stack.supervisor.intake.create(TENANT, run_spec(), [item, call]))
    taken = run.input[0]
    assert taken.id == f"msg_{run.id[4:]}000000"
    assert (taken.run_id, taken.status, taken.incomplete_reason) == (run.id, item_pb2.ITEM_STATUS_COMPLETED, 0)
    assert taken.create_time == run.create_time or taken.create_time.seconds > 1
    assert run.input[1].function_call.executor == item_pb2.EXECUTOR_CLIENT
    assert item.id == "msg_mine", "the caller's own item is left alone"


# Conversations


async def test_turns_of_a_conversation_see_what_was_said_before(stack: Stack, agent: ScriptedAgent) -> None:
    await finished(stack, agent, "1?", conversation_id="talk")
    await finished(stack, agent, "2?", conversation_id="talk")
    run_id = await stack.create("3?", conversation_id="talk")
    await agent.script(run_id).begun.wait()
    assert texts(agent.script(run_id).contexts[0].history) == ["1?", "1?!", "2?", "2?!"]


@pytest.mark.parametrize("policy", [run_pb2.BUSY_POLICY_UNSPECIFIED, run_pb2.BUSY_POLICY_REJECT])
async def test_a_busy_conversation_refuses(stack: Stack, agent: ScriptedAgent, policy: int) -> None:
    first = await stack.create(conversation_id="talk")
    error = await refused(stack, [said("hi")], conversation_id="talk", busy_policy=policy)
    assert isinstance(error, ConversationLocked)
    assert first in error.message
    with pytest.raises(ConversationLocked, match=first):
        await stack.supervisor.idle(TENANT, "talk").__aenter__()
    async with stack.supervisor.idle("somebody else", "talk"):
        assert await stack.create(conversation_id="other")
    agent.script(first).end()
    await stack.events(first)
    # Whoever has seen the end may go on at once.
    async with stack.supervisor.idle(TENANT, "talk"):
        pass
    assert await stack.create(conversation_id="talk", busy_policy=policy)


async def test_a_queued_turn_waits_and_then_sees_the_answer_before_it(stack: Stack, agent: ScriptedAgent) -> None:
    first = await stack.create("1?", conversation_id="talk")
    second = await stack.create("2?", conversation_id="talk", busy_policy=QUEUE)
    third = await stack.create("3?", conversation_id="talk", busy_policy=QUEUE)
    await agent.script(first).begun.wait()
    assert (await stack.get(second)).state == run_pb2.RUN_STATE_QUEUED
    for run_id, answer in ((first, "1!"), (second, "2!"), (third, "3!")):
        agent.script(run_id).say(TextDelta(answer))
        agent.script(run_id).end()
    await stack.ended(third)
    assert texts(agent.script(second).contexts[0].history) == ["1?", "1!"]
    assert texts(agent.script(third).contexts[0].history) == ["1?", "1!", "2?", "2!"]


async def test_an_interrupting_turn_cancels_those_before_it(stack: Stack, agent: ScriptedAgent) -> None:
    first = await stack.create("1?", conversation_id="talk")
    second = await stack.create("2?", conversation_id="talk", busy_policy=QUEUE)
    agent.script(first).say(TextDelta("half"))
    await stack.seen(first, "text_delta")
    third = await stack.create("3?", conversation_id="talk", busy_policy=INTERRUPT)
    await agent.script(third).begun.wait()
    assert agent.script(first).closed.is_set()
    assert {(await stack.get(run_id)).state for run_id in (first, second)} == {run_pb2.RUN_STATE_CANCELLED}
    assert texts(agent.script(third).contexts[0].history) == ["1?", "half", "2?"]


async def test_of_turns_that_race_one_wins_and_the_others_are_told(stack: Stack) -> None:
    results = await asyncio.gather(*(stack.create(conversation_id="talk") for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, ConversationLocked) for result in results) == 9


async def test_turns_that_race_for_the_queue_have_ids_in_the_order_of_their_turns(tmp_path: Path) -> None:
    async with running(tmp_path, PlainAgent("scripted", TextDelta("!"))) as stack:
        made = await asyncio.gather(
            *(stack.create(str(number), conversation_id="talk", busy_policy=QUEUE) for number in range(20))
        )
        runs = [await stack.ended(run_id) for run_id in sorted(made)]
        ends = [run.end_time.ToNanoseconds() for run in runs]
        assert ends == sorted(ends)
        last = await stack.create("last", conversation_id="talk")
        await stack.ended(last)
        spec = (await stack.get(last)).spec
        history = texts(await stack.store.history(TENANT, spec, last))
        assert history[1::2] == ["!"] * 20
        assert sorted(history[::2], key=int) == [str(number) for number in range(20)]


async def test_a_conversation_is_made_when_it_is_first_named_but_not_with_an_id_of_ours(stack: Stack) -> None:
    await stack.create(conversation_id="talk")
    assert await stack.store.get_conversation(TENANT, "talk") is not None
    error = await refused(stack, [said("hi")], conversation_id="conv_" + "0" * 32)
    assert (type(error), error.reason) == (NotFound, "CONVERSATION_NOT_FOUND")


# Reading


@BOTH
async def test_a_cursor_is_exact_or_an_explicit_error(stack: Stack, agent: ScriptedAgent, durability: int) -> None:
    run = await finished(stack, agent, durability=durability)
    events = await stack.events(run.id)
    assert len(events) == run.last_sequence
    for after in range(len(events) + 1):
        assert await stack.events(run.id, after=after) == events[after:]
    with pytest.raises(CursorAhead):
        await stack.events(run.id, after=len(events) + 1)
    for tenant, run_id in ((TENANT, NOWHERE), ("somebody else", run.id)):
        with pytest.raises(NotFound):
            await anext(stack.supervisor.follow(tenant, run_id))
        with pytest.raises(NotFound):
            await stack.supervisor.get(tenant, run_id)
        with pytest.raises(NotFound):
            await stack.supervisor.cancel(tenant, run_id)
        with pytest.raises(NotFound):
            await stack.supervisor.delete(tenant, run_id)
        stack.supervisor.cancel_soon(tenant, run_id)


async def test_another_tenant_cannot_touch_a_run_that_is_under_way(stack: Stack, agent: ScriptedAgent) -> None:
    run_id = await stack.create()
    await stack.seen(run_id, "run_started")
    other = "somebody else"
    with pytest.raises(NotFound):
        await stack.supervisor.get(other, run_id)
    with pytest.raises(NotFound):
        await stack.supervisor.cancel(other, run_id)
    with pytest.raises(NotFound):
        await stack.supervisor.delete(other, run_id)
    with pytest.raises(NotFound):
        await stack.supervisor.update_metadata(other, run_id, {})
    with pytest.raises(NotFound):
        await stack.supervisor.resolve_approval(other, run_id, "", item_pb2.APPROVAL_DECISION_ONCE, "")
    stack.supervisor.cancel_soon(other, run_id)
    assert (await stack.get(run_id)).state == run_pb2.RUN_STATE_IN_PROGRESS


async def test_events_that_were_forgotten_are_an_explicit_error(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, log_seconds=0) as stack:
        run = await finished(stack, agent)
        await stack.supervisor.sweeper.expire()
        with pytest.raises(CursorExpired):
            await stack.events(run.id, after=2)
        assert await stack.events(run.id, after=run.last_sequence) == []
        assert await stack.get(run.id) == run


class HeldStore:
    """A store whose appends wait until told, and whose expiry may be broken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Event()

    async def append(self, appends: Sequence[object]) -> frozenset[str]:
        self.arrived.set()
        await self.go.wait()
        return await self._store.append(appends)  # type: ignore[arg-type] # handed on

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


async def test_get_shows_nothing_that_a_crash_could_take_back(tmp_path: Path, agent: ScriptedAgent) -> None:
    held: list[HeldStore] = []

    def wrap(store: Store) -> Store:
        held.append(HeldStore(store))
        return held[0]  # type: ignore[return-value] # the other methods are the store's own

    async with running(tmp_path, agent, wrap=wrap) as stack:
        held[0].go.clear()
        run_id = await stack.create()
        await held[0].arrived.wait()
        reading = asyncio.create_task(stack.get(run_id))
        await agent.script(run_id).begun.wait()
        assert not reading.done()
        held[0].go.set()
        assert (await reading).id == run_id


async def test_metadata_of_a_run_under_way_can_be_changed_and_stays_so(tmp_path: Path) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent) as stack:
        run_id = await stack.create(metadata={"a": "1"})
        run = await stack.supervisor.update_metadata(TENANT, run_id, {"b": "2"})
        assert dict(run.spec.metadata) == {"b": "2"}
        assert dict((await stack.get(run_id)).spec.metadata) == {"b": "2"}
    again = ScriptedAgent()
    async with running(tmp_path, again) as stack:
        assert dict((await stack.get(run_id)).spec.metadata) == {"b": "2"}
        again.script(run_id).end()
        assert dict((await stack.ended(run_id)).spec.metadata) == {"b": "2"}


async def test_a_memory_run_has_no_metadata_to_change(stack: Stack) -> None:
    run_id = await stack.create(durability=MEMORY)
    with pytest.raises(NotFound):
        await stack.supervisor.update_metadata(TENANT, run_id, {"b": "2"})


# Deleting and forgetting


@BOTH
async def test_deleting_a_run_that_is_under_way_cancels_it_first(
    stack: Stack, agent: ScriptedAgent, durability: int
) -> None:
    run_id = await stack.create(durability=durability)
    await agent.script(run_id).begun.wait()
    follower = asyncio.create_task(stack.events(run_id))
    await stack.seen(run_id, "run_started")
    await stack.supervisor.delete(TENANT, run_id)
    assert agent.script(run_id).closed.is_set()
    assert kinds(await follower)[-1] == "run_cancelled"
    for call in (stack.get(run_id), stack.events(run_id), stack.supervisor.delete(TENANT, run_id)):
        with pytest.raises(NotFound):
            await call
    assert not list(stack.supervisor.under_way)


@BOTH
async def test_deleting_a_run_that_is_over_takes_its_request_id_along(
    stack: Stack, agent: ScriptedAgent, durability: int
) -> None:
    run_id = await stack.create(request_id="key", request_hash=b"1", durability=durability)
    agent.script(run_id).end()
    await stack.ended(run_id)
    await stack.supervisor.delete(TENANT, run_id)
    with pytest.raises(NotFound):
        await stack.get(run_id)
    assert await stack.create(request_id="key", request_hash=b"2") != run_id


async def test_a_memory_run_is_not_in_the_store(stack: Stack, agent: ScriptedAgent) -> None:
    run = await finished(stack, agent, durability=MEMORY)
    assert await stack.store.get_run(TENANT, run.id) is None
    assert await stack.get(run.id) == run


async def test_memory_runs_are_forgotten_after_their_time(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, memory_run_seconds=0) as stack:
        run_id = await stack.create(request_id="key", request_hash=b"1", durability=MEMORY)
        agent.script(run_id).end()
        await stack.settled(run_id)
        stack.supervisor._roster.sweep()
        with pytest.raises(NotFound):
            await stack.get(run_id)
        assert await stack.create(request_id="key", request_hash=b"2", durability=MEMORY) != run_id


async def test_the_oldest_memory_runs_go_where_there_is_no_room(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, memory_run_bytes=30_000) as stack:
        made = []
        for _ in range(4):
            run_id = await stack.create(durability=MEMORY)
            agent.script(run_id).say(TextDelta("x" * 5_000))
            agent.script(run_id).end()
            await stack.settled(run_id)
            made.append(run_id)
        # Text and its completed item: about 10 kB each.
        for run_id in made[:2]:
            with pytest.raises(NotFound):
                await stack.get(run_id)
        for run_id in made[2:]:
            assert (await stack.get(run_id)).state == run_pb2.RUN_STATE_COMPLETED


async def test_tokens_are_estimated_with_the_history(stack: Stack, agent: ScriptedAgent) -> None:
    first = await finished(stack, agent, "x" * 400)
    alone = await stack.supervisor.intake.count_tokens(TENANT, run_spec(), [said("hi")])
    after = await stack.supervisor.intake.count_tokens(TENANT, run_spec(previous_run_id=first.id), [said("hi")])
    assert 0 < alone < 20
    assert 200 < after - alone < 300


async def test_a_store_that_cannot_be_read_fails_the_run_and_no_more(tmp_path: Path, agent: ScriptedAgent) -> None:
    class Unreadable:
        """Has no history today."""

        def __init__(self, store: Store) -> None:
            self._store = store

        async def history(self, *_args: object) -> list[item_pb2.Item]:
            raise Unavailable("STORE_UNAVAILABLE", "The store cannot be used now; try again.", 1.0)

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    def wrap(store: Store) -> Store:
        return Unreadable(store)  # type: ignore[return-value] # the other methods are the store's own

    async with running(tmp_path, agent, wrap=wrap) as stack:
        for durability in (LOGGED, MEMORY):
            first = await finished(stack, agent)
            run_id = await stack.create(previous_run_id=first.id, durability=durability)
            run = await stack.ended(run_id)
            assert (run.state, run.error.reason) == (run_pb2.RUN_STATE_FAILED, "STORE_UNAVAILABLE")


async def test_a_store_that_is_away_when_things_are_forgotten_harms_nobody(
    tmp_path: Path, agent: ScriptedAgent
) -> None:
    class Forgetful:
        """Cannot forget at first."""

        def __init__(self, store: Store) -> None:
            self._store = store
            self.faults = 3
            self.forgot = asyncio.Event()

        async def expire(self, **limits: int) -> int:
            if self.faults > 0:
                self.faults -= 1
                raise Unavailable("STORE_UNAVAILABLE", "The store cannot be used now; try again.", 1.0)
            self.forgot.set()
            return await self._store.expire(**limits)

        def __getattr__(self, name: str) -> object:
            return getattr(self._store, name)

    forgetful: list[Forgetful] = []

    def wrap(store: Store) -> Store:
        forgetful.append(Forgetful(store))
        return forgetful[0]  # type: ignore[return-value] # the other methods are the store's own

    async with running(tmp_path, agent, wrap=wrap) as stack:
        sweeper = asyncio.create_task(stack.supervisor.sweeper.run(every=0))
        await forgetful[0].forgot.wait()
        sweeper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweeper
