"""Items in a store: history read by reference, pages in both directions, and conversations."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from breezeway.v1 import conversation_pb2, item_pb2, run_pb2
from breezeway_server.engine.admission import take_in
from breezeway_server.errors import RequestIdReused
from breezeway_server.store.base import Created, ItemPage, Request, RunFilter, Store

from tests.server.store.builders import ALL, NOW, StoredRun, append, begun, ended, new_id
from tests.support.agents import called, said
from tests.support.server import texts

ASSISTANT = item_pb2.ROLE_ASSISTANT


def conversation(name: str, created: int = NOW, **metadata: str) -> conversation_pb2.Conversation:
    made = conversation_pb2.Conversation(id=name, metadata=metadata)
    made.create_time.FromNanoseconds(created)
    return made


def by_hand(*words: str) -> list[item_pb2.Item]:
    """Items that belong to no run."""
    items = take_in([said(word) for word in words], f"run_{new_id()}", NOW)
    for item in items:
        item.ClearField("run_id")
    return items


async def history(store: Store, tenant: str = "t", **spec: object) -> list[str]:
    """The texts that a new run of this spec goes on from."""
    wanted = run_pb2.RunSpec(**spec)  # type: ignore[arg-type] # the fields of the message, by name
    return texts(await store.history(tenant, wanted, f"run_{new_id()}"))


async def test_a_run_without_references_has_no_history(store: Store) -> None:
    await ended(store)
    assert await history(store) == []


async def test_a_chain_is_read_in_order_and_branches_do_not_see_each_other(store: Store) -> None:
    root = await ended(store, "t", "1?", answer="1!")
    left = await ended(store, "t", "2?", answer="2!", previous_run_id=root.id)
    right = await ended(store, "t", "3?", answer="3!", previous_run_id=root.id)
    leaf = await ended(store, "t", "4?", answer="4!", previous_run_id=left.id)
    assert await history(store, previous_run_id=root.id) == ["1?", "1!"]
    assert await history(store, previous_run_id=leaf.id) == ["1?", "1!", "2?", "2!", "4?", "4!"]
    assert await history(store, previous_run_id=right.id) == ["1?", "1!", "3?", "3!"]


async def test_a_deleted_run_is_left_out_and_nothing_breaks(store: Store) -> None:
    root = await ended(store, "t", "1?", answer="1!")
    middle = await ended(store, "t", "2?", answer="2!", previous_run_id=root.id)
    leaf = await ended(store, "t", "3?", answer="3!", previous_run_id=middle.id)
    await store.delete_run("t", middle.id)
    assert await history(store, previous_run_id=leaf.id) == ["1?", "1!", "3?", "3!"]
    assert await store.list_run_items("t", leaf.id, ALL, output=False) is not None


async def test_a_run_with_its_own_history_begins_the_chain(store: Store) -> None:
    root = await ended(store, "t", "1?", answer="1!")
    own = [said("own 1?"), said("own 1!", ASSISTANT), said("own 2?")]
    middle = await ended(store, input_items=own, answer="2!", previous_run_id=root.id, explicit_history=True)
    assert await history(store, previous_run_id=root.id, explicit_history=True) == []
    leaf = await ended(store, "t", "3?", answer="3!", previous_run_id=middle.id)
    assert await history(store, previous_run_id=leaf.id) == ["own 1?", "own 1!", "own 2?", "2!", "3?", "3!"]


async def test_a_conversation_is_read_up_to_the_run(store: Store) -> None:
    assert await store.create_conversation("t", conversation("talk"), by_hand("zero"))
    first = await ended(store, "t", "1?", answer="1!", conversation_id="talk")
    second = StoredRun(text="2?", conversation_id="talk")
    await append(store, second)
    await ended(store, "t", "other", conversation_id="elsewhere")
    third = await ended(store, "t", "3?", answer="3!", conversation_id="talk")
    assert texts(await store.history("t", first.spec, first.id)) == ["zero"]
    assert texts(await store.history("t", second.spec, second.id)) == ["zero", "1?", "1!"]
    assert texts(await store.history("t", third.spec, third.id)) == ["zero", "1?", "1!", "2?"]
    # What an earlier turn says later is before the later turn all the same.
    second.writer.started()
    second.say("2!")
    await append(store, second)
    assert texts(await store.history("t", third.spec, third.id)) == ["zero", "1?", "1!", "2?", "2!"]


async def test_a_chain_goes_on_into_the_conversation_that_it_began_in(store: Store) -> None:
    assert await store.create_conversation("t", conversation("talk"), by_hand("zero"))
    await ended(store, "t", "1?", answer="1!", conversation_id="talk")
    root = await ended(store, "t", "2?", answer="2!", conversation_id="talk")
    await ended(store, "t", "3?", answer="3!", conversation_id="talk")
    leaf = await ended(store, "t", "branch?", answer="branch!", previous_run_id=root.id)
    before = ["zero", "1?", "1!", "2?", "2!"]
    assert await history(store, previous_run_id=root.id) == before
    assert await history(store, previous_run_id=leaf.id) == [*before, "branch?", "branch!"]


async def test_of_an_explicit_history_the_conversation_gets_the_new_turn_alone(store: Store) -> None:
    await ended(store, "t", "1?", answer="1!", conversation_id="talk")
    own = [said("edited 1?"), said("edited 1!", ASSISTANT), said("2?")]
    thick = await ended(store, input_items=own, answer="2!", conversation_id="talk", explicit_history=True)
    assert await history(store, conversation_id="talk") == ["1?", "1!", "2?", "2!"]
    assert texts((await page(store, thick.id))[0]) == ["edited 1?", "edited 1!", "2?"]
    # A later turn that goes on from the run itself goes on from what its caller said.
    assert await history(store, previous_run_id=thick.id) == ["edited 1?", "edited 1!", "2?", "2!"]


async def test_calls_and_their_outputs_are_history_too(store: Store) -> None:
    run = StoredRun()
    run.writer.started()
    call = run.writer.call("add", item_pb2.EXECUTOR_SERVER)
    run.writer.arguments(call, "{}")
    closed = run.writer.close(call)
    run.writer.output(closed.function_call.call_id, "3")
    run.writer.completed(run_pb2.Usage())
    await append(store, run)
    found = await store.history("t", run_pb2.RunSpec(previous_run_id=run.id), f"run_{new_id()}")
    assert found == [*run.input, *run.run().output]
    assert [item.WhichOneof("kind") for item in found] == ["message", "function_call", "function_call_output"]


async def test_turn_200_writes_as_little_as_turn_1(store: Store) -> None:
    previous, sizes = "", []
    for _ in range(200):
        run = StoredRun(text="q", previous_run_id=previous)
        run.writer.started()
        run.say("a")
        run.writer.completed(run_pb2.Usage())
        appended = run.take()
        assert appended.new is not None
        rows = len(appended.new.input) + len(appended.items) + 1
        sizes.append((rows, sum(map(len, appended.frames)) - (len(previous) and len(previous) + 2)))
        assert not await store.append([appended])
        previous = run.id
    assert len(set(sizes[1:])) == 1
    assert sizes[0][0] == sizes[-1][0] == 3
    assert len(await history(store, previous_run_id=previous)) == 400


async def page(store: Store, run_id: str, *, output: bool = False) -> tuple[list[item_pb2.Item], bool]:
    found = await store.list_run_items("t", run_id, ALL, output=output)
    assert found is not None
    return found


async def test_the_input_of_a_run_is_listed_with_the_history_before_it(store: Store) -> None:
    root = await ended(store, "t", "1?", answer="1!")
    leaf = await ended(store, "t", "2?", answer="2!", previous_run_id=root.id)
    talk = await ended(store, "t", "3?", answer="3!", conversation_id="talk")
    more = await ended(store, "t", "4?", answer="4!", conversation_id="talk")
    assert texts((await page(store, leaf.id))[0]) == ["1?", "1!", "2?"]
    assert texts((await page(store, leaf.id, output=True))[0]) == ["2!"]
    assert texts((await page(store, talk.id))[0]) == ["3?"]
    assert texts((await page(store, more.id))[0]) == ["3?", "3!", "4?"]


class Listed(NamedTuple):
    """A list of nine items, and how to get a page of it."""

    ids: Sequence[str]
    run_id: str


@pytest.fixture
async def nine(store: Store) -> Listed:
    previous = await ended(store, input_items=[said(str(number)) for number in range(4)], conversation_id="talk")
    run = await ended(store, input_items=[said(str(number)) for number in range(4)], conversation_id="talk")
    items = [*previous.input, *previous.run().output, *run.input]
    return Listed([item.id for item in items], run.id)


@pytest.mark.parametrize("limit", [1, 2, 4, 9, 10])
@pytest.mark.parametrize("ascending", [True, False])
async def test_pages_of_items_cover_the_list(store: Store, nine: Listed, ascending: bool, limit: int) -> None:
    await store.create_conversation("t", conversation("talk"), [])
    for conversational in (True, False):
        got: list[str] = []
        more = True
        while more:
            wanted = ItemPage(after_item_id=got[-1] if got else "", ascending=ascending, limit=limit)
            if conversational:
                found = await store.list_conversation_items("t", "talk", wanted)
            else:
                found = await store.list_run_items("t", nine.run_id, wanted, output=False)
            assert found is not None
            items, more = found
            assert len(items) == limit or not more
            got += [item.id for item in items]
        # The conversation has the run's own output too.
        listed = got[: len(nine.ids)] if ascending else got[::-1][: len(nine.ids)]
        assert listed == nine.ids
        assert len(got) == len(nine.ids) + conversational


async def test_a_page_after_an_item_that_is_not_in_the_list_is_none(store: Store, nine: Listed) -> None:
    (stranger,) = by_hand("stranger")
    key = nine.ids[0].partition("_")[2]
    for after in ("nonsense", "", stranger.id, f"fc_{key}", key):
        wanted = ItemPage(after_item_id=after)
        found = await store.list_run_items("t", nine.run_id, wanted, output=False)
        assert (found is None) is bool(after)
        assert (await store.list_conversation_items("t", "talk", wanted) is None) is bool(after)
    assert await store.list_run_items("t", nine.run_id, ItemPage(after_item_id=nine.ids[0]), output=True) is None


async def test_items_are_found_by_their_ids_alone(store: Store) -> None:
    run = await ended(store)
    output = run.run().output[0]
    key = output.id.partition("_")[2]
    found = await store.find_items("t", [output.id, run.input[0].id, f"fc_{key}", "msg_", ""])
    assert found == {output.id: output, run.input[0].id: run.input[0]}


async def test_a_conversation_is_created_once(store: Store) -> None:
    assert await store.create_conversation("t", conversation("talk", topic="a"), by_hand("1", "2"))
    assert not await store.create_conversation("t", conversation("talk", topic="b"), by_hand("3"))
    assert await store.get_conversation("t", "talk") == conversation("talk", topic="a")
    assert await history(store, conversation_id="talk") == ["1", "2"]


async def test_conversations_are_listed_newest_first_in_pages(store: Store) -> None:
    made = [conversation(f"c{number}", NOW + number) for number in range(5)]
    for each in made:
        await store.create_conversation("t", each, [])
    assert await store.list_conversations("t", None, 10) == made[::-1]
    assert await store.list_conversations("t", None, 2) == made[:2:-1]
    assert await store.list_conversations("t", (NOW + 3, "c3"), 2) == made[2:0:-1]
    assert await store.list_conversations("t", (NOW, "c0"), 2) == []


def request(name: str = "key", body: bytes = b"body", created: int = NOW) -> Request:
    return Request(name, body, created)


async def test_the_same_request_is_the_same_conversation(store: Store) -> None:
    made = conversation("first")
    assert await store.find_created("t", request()) is None
    assert await store.create_conversation("t", made, by_hand("1"), request()) == made
    assert await store.create_conversation("t", conversation("second"), by_hand("2"), request()) == made
    assert await store.find_created("t", request()) == Created(made, [])
    assert await store.list_conversations("t", None, 10) == [made]
    assert await history(store, conversation_id="first") == ["1"]
    changed = conversation("first", topic="changed")
    await store.update_conversation("t", changed)
    assert await store.create_conversation("t", conversation("second"), [], request()) == changed
    # Of another tenant it is another request.
    assert await store.find_created("other", request()) is None
    assert await store.create_conversation("other", conversation("third"), [], request()) == conversation("third")


async def test_the_same_request_adds_the_same_items(store: Store) -> None:
    await store.create_conversation("t", conversation("talk"), [])
    hand = by_hand("1", "2")
    assert await store.add_conversation_items("t", "elsewhere", hand, request()) is None
    assert await store.add_conversation_items("t", "talk", hand, request()) == hand
    assert await store.add_conversation_items("t", "talk", by_hand("1", "2"), request()) == hand
    assert await history(store, conversation_id="talk") == ["1", "2"]
    await store.remove_conversation_item("t", "talk", hand[0].id)
    assert await store.find_created("t", request()) == Created(conversation("talk"), hand)
    assert await store.add_conversation_items("t", "talk", hand, request()) == hand
    assert await history(store, conversation_id="talk") == ["2"]


async def test_the_same_request_with_another_body_changes_nothing(store: Store) -> None:
    await store.create_conversation("t", conversation("talk"), [], request())
    other = request(body=b"other")
    with pytest.raises(RequestIdReused):
        await store.find_created("t", other)
    with pytest.raises(RequestIdReused):
        await store.create_conversation("t", conversation("second"), [], other)
    with pytest.raises(RequestIdReused):
        await store.add_conversation_items("t", "talk", by_hand("1"), other)
    assert await store.list_conversations("t", None, 10) == [conversation("talk")]
    assert await history(store, conversation_id="talk") == []


async def test_a_name_that_is_taken_uses_up_no_request(store: Store) -> None:
    await store.create_conversation("t", conversation("talk"), [])
    assert await store.create_conversation("t", conversation("talk"), [], request()) is None
    assert await store.find_created("t", request()) is None


async def test_requests_of_conversations_are_forgotten_in_time(store: Store) -> None:
    for number in range(3):
        await store.create_conversation(
            "t", conversation(f"c{number}"), [], request(f"r{number}", created=NOW + number)
        )
    assert await store.expire(ended_before_ns=0, requested_before_ns=NOW, limit=10) == 0
    assert await store.expire(ended_before_ns=0, requested_before_ns=NOW + 2, limit=1) == 1
    known = [await store.find_created("t", request(f"r{number}")) is not None for number in range(3)]
    assert known == [False, True, True]
    assert await store.expire(ended_before_ns=0, requested_before_ns=NOW + 2, limit=10) == 1
    assert await store.get_conversation("t", "c0") == conversation("c0")


async def test_a_request_goes_with_its_conversation(store: Store) -> None:
    await store.create_conversation("t", conversation("talk"), [], request())
    await store.add_conversation_items("t", "talk", by_hand("1"), request("items"))
    await store.delete_conversation("t", "talk")
    assert await store.find_created("t", request()) is None
    assert await store.find_created("t", request("items")) is None
    assert await store.create_conversation("t", conversation("talk"), [], request()) == conversation("talk")


async def test_conversations_of_one_moment_are_all_listed(store: Store) -> None:
    made = [conversation(f"c{number}", NOW) for number in range(5)]
    for each in made:
        await store.create_conversation("t", each, [])
    got: list[conversation_pb2.Conversation] = []
    while page := await store.list_conversations("t", (NOW, got[-1].id) if got else None, 2):
        got += page
    assert got == made[::-1]


async def test_a_conversation_can_be_changed(store: Store) -> None:
    await store.create_conversation("t", conversation("talk"), [])
    assert await store.update_conversation("t", conversation("talk", topic="new"))
    assert await store.get_conversation("t", "talk") == conversation("talk", topic="new")
    assert not await store.update_conversation("t", conversation("elsewhere"))
    assert await store.get_conversation("t", "elsewhere") is None


async def test_items_are_added_at_the_end(store: Store) -> None:
    await store.create_conversation("t", conversation("talk"), by_hand("1"))
    await ended(store, "t", "2?", answer="2!", conversation_id="talk")
    assert await store.add_conversation_items("t", "talk", by_hand("3", "4"))
    assert not await store.add_conversation_items("t", "elsewhere", by_hand("5"))
    assert await history(store, conversation_id="talk") == ["1", "2?", "2!", "3", "4"]
    assert await history(store, conversation_id="elsewhere") == []


async def test_an_item_taken_out_of_a_conversation_stays_with_its_run(store: Store) -> None:
    hand = by_hand("1")
    await store.create_conversation("t", conversation("talk"), hand)
    run = await ended(store, "t", "2?", answer="2!", conversation_id="talk")
    question = run.input[0]
    assert await store.get_conversation_item("t", "talk", question.id) == question
    for item in (question, hand[0]):
        assert await store.remove_conversation_item("t", "talk", item.id)
        assert not await store.remove_conversation_item("t", "talk", item.id)
        assert await store.get_conversation_item("t", "talk", item.id) is None
    assert await history(store, conversation_id="talk") == ["2!"]
    assert await store.get_run("t", run.id) == run.run()
    assert await history(store, previous_run_id=run.id) == ["2?", "2!"]


async def test_an_item_is_found_only_in_its_own_conversation(store: Store) -> None:
    hand = by_hand("1")
    await store.create_conversation("t", conversation("talk"), hand)
    await store.create_conversation("t", conversation("other"), [])
    key = hand[0].id.partition("_")[2]
    for name, item_id in (("other", hand[0].id), ("talk", f"fc_{key}"), ("talk", "nonsense"), ("nowhere", hand[0].id)):
        assert await store.get_conversation_item("t", name, item_id) is None
        assert not await store.remove_conversation_item("t", name, item_id)
    assert await history(store, conversation_id="talk") == ["1"]


async def test_a_deleted_conversation_leaves_its_runs_and_nothing_else(store: Store) -> None:
    hand = by_hand("1")
    await store.create_conversation("t", conversation("talk"), hand)
    run = await ended(store, "t", "2?", answer="2!", conversation_id="talk")
    await store.create_conversation("t", conversation("other"), by_hand("other"))
    assert await store.delete_conversation("t", "talk")
    assert not await store.delete_conversation("t", "talk")
    assert await store.get_conversation("t", "talk") is None
    assert await store.find_items("t", [hand[0].id]) == {}
    assert await store.get_run("t", run.id) == run.run()
    assert await history(store, conversation_id="other") == ["other"]
    # Its name can be taken again, and nothing of the old one comes back.
    assert await store.create_conversation("t", conversation("talk"), [])
    assert await history(store, conversation_id="talk") == []


async def test_tenants_never_see_each_other(store: Store) -> None:
    hand = by_hand("mine")
    await store.create_conversation("t", conversation("talk"), hand)
    run = await ended(store, "t", "1?", answer="1!", conversation_id="talk", request_id="key", metadata={"a": "b"})
    leaf = await begun(store, "t", "2?", previous_run_id=run.id)
    before = [await store.get_run("t", each.id) for each in (run, leaf)]
    other = "somebody else"
    items = [hand[0].id, run.input[0].id, run.run().output[0].id]
    assert await store.get_run(other, run.id) is None
    assert await store.run_head(other, run.id) is None
    assert await store.list_runs(other, RunFilter()) == []
    assert (
        await store.list_runs(other, RunFilter(metadata={"a": "b"}, conversation_id="talk", after_run_id=leaf.id)) == []
    )
    assert not await store.update_run_metadata(other, run.id, {"x": "y"})
    assert not await store.delete_run(other, run.id)
    assert await store.find_request(other, "key") is None
    assert await history(store, other, previous_run_id=leaf.id) == []
    assert await history(store, other, conversation_id="talk") == []
    assert await store.list_run_items(other, run.id, ALL, output=False) is None
    assert await store.list_run_items(other, run.id, ALL, output=True) is None
    assert await store.find_items(other, items) == {}
    assert await store.get_conversation(other, "talk") is None
    assert await store.list_conversations(other, None, 10) == []
    assert not await store.update_conversation(other, conversation("talk", x="y"))
    assert not await store.delete_conversation(other, "talk")
    assert not await store.add_conversation_items(other, "talk", by_hand("theirs"))
    assert await store.list_conversation_items(other, "talk", ALL) == ([], False)
    for item in items:
        assert await store.get_conversation_item(other, "talk", item) is None
        assert not await store.remove_conversation_item(other, "talk", item)
    # The same name is another conversation.
    assert await store.create_conversation(other, conversation("talk"), by_hand("theirs"))
    theirs = await ended(store, other, "chained?", previous_run_id=run.id)
    assert await history(store, other, previous_run_id=theirs.id) == ["chained?", "world"]
    assert await history(store, other, conversation_id="talk") == ["theirs"]
    assert await store.delete_conversation(other, "talk")
    assert [await store.get_run("t", each.id) for each in (run, leaf)] == before
    assert await history(store, conversation_id="talk") == ["mine", "1?", "1!"]
    assert await store.get_conversation("t", "talk") == conversation("talk")


async def test_a_call_in_the_input_is_stored_as_it_came(store: Store) -> None:
    run = await ended(store, input_items=[said("q"), called("call_1", "add", '{"a": 1')])
    assert [item.function_call.arguments for item in (await page(store, run.id))[0]] == ["", '{"a": 1']
