"""Background responses, cancelling, and streams that are gone on with from elsewhere."""

import asyncio

import pytest

from tests.e2e.responses.openai_http import Json, OpenAIHttp, text_of
from tests.support.model_server import DONE, Action, Hold, ModelServer, Stream, answer, finish, text, usage
from tests.support.patience import PATIENCE

OVER = {"completed", "incomplete", "failed", "cancelled"}


def held(gate: asyncio.Event, before: str = "half ", after: str = "and half") -> Stream:
    """An answer that stops in the middle until the gate opens."""
    actions: list[Action] = [*text(*before.split(",")), Hold(gate), *text(after), finish(), usage(1, 2), DONE]
    return Stream(actions)


async def test_a_background_response_is_answered_at_once(openai_http: OpenAIHttp, model: ModelServer) -> None:
    gate = asyncio.Event()
    model.enqueue(held(gate))
    accepted = await openai_http.create(input="hi", background=True)
    assert accepted["status"] in {"queued", "in_progress"}
    assert (accepted["background"], accepted["usage"]) == (True, None)
    await model.arrival()
    assert (await openai_http.get(accepted["id"]))["status"] == "in_progress"
    gate.set()
    *_, last = await openai_http.replay(accepted["id"])
    assert last["type"] == "response.completed"
    assert await openai_http.get(accepted["id"]) == last["response"]
    assert text_of(last["response"]) == "half and half"


async def test_another_client_has_exactly_the_rest_of_a_stream_that_was_left(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    gate = asyncio.Event()
    model.enqueue(held(gate, before="a,b,c"))
    seen: list[Json] = []
    async with openai_http.streaming(input="hi", background=True) as events:
        async for event in events:
            seen.append(event)
            if [event["type"] for event in seen].count("response.output_text.delta") == 2:
                break
    assert [event["type"] for event in seen[:3]] == ["response.created", "response.queued", "response.in_progress"]
    response_id = seen[0]["response"]["id"]
    others = [
        asyncio.create_task(openai_http.replay(response_id, after=after))
        for after in (0, seen[-1]["sequence_number"], seen[-1]["sequence_number"] + 1)
    ]
    assert (await openai_http.get(response_id))["status"] == "in_progress", "leaving changed nothing"
    gate.set()
    rests = await asyncio.gather(*others)
    whole = await openai_http.replay(response_id)
    assert whole[: len(seen)] == seen
    assert rests == [whole[1:], whole[len(seen) :], whole[len(seen) + 1 :]]
    assert text_of(whole[-1]["response"]) == "abcand half"
    for after in range(len(whole)):
        assert await openai_http.replay(response_id, after=after) == whole[after + 1 :], "also after the end"


async def test_a_cursor_beyond_the_end_is_refused(openai_http: OpenAIHttp, model: ModelServer) -> None:
    events = await openai_http.stream(input="hi")
    path = f"/v1/responses/{events[0]['response']['id']}"
    for query, param in (
        (f"stream=true&starting_after={len(events)}", "starting_after"),
        ("stream=true&starting_after=x", "starting_after"),
        ("starting_after=1", "starting_after"),
    ):
        assert (await openai_http.error("GET", f"{path}?{query}"))[::2] == (400, param)


async def test_a_chat_completions_client_can_read_the_run_by_any_spelling(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    events = await openai_http.stream(input="hi")
    response_id = events[0]["response"]["id"]
    for spelling in ("chatcmpl-", "run_"):
        assert await openai_http.replay(response_id.replace("resp_", spelling)) == events


async def test_cancelling_stops_the_model_and_settles(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(Stream([*text("half"), Hold()]))
    accepted = await openai_http.create(input="hi", background=True)
    request = await model.arrival()
    following = asyncio.create_task(openai_http.replay(accepted["id"]))
    cancelled = await openai_http.cancel(accepted["id"])
    await asyncio.wait_for(request.gone.wait(), PATIENCE)
    assert cancelled["status"] == "cancelled"
    assert cancelled["error"] is None
    again = await openai_http.cancel(accepted["id"])
    assert again == cancelled == await openai_http.get(accepted["id"])
    *_, last = await following
    assert last["response"] == cancelled


async def test_cancelling_what_is_over_changes_nothing(openai_http: OpenAIHttp, model: ModelServer) -> None:
    accepted = await openai_http.create(input="hi", background=True)
    *_, last = await openai_http.replay(accepted["id"])
    assert await openai_http.cancel(accepted["id"]) == last["response"]
    assert last["response"]["status"] == "completed"


async def test_only_a_background_response_can_be_cancelled(openai_http: OpenAIHttp, model: ModelServer) -> None:
    response = await openai_http.create(input="hi")
    status, _, _ = await openai_http.error("POST", f"/v1/responses/{response['id']}/cancel")
    assert status == 400


async def test_a_background_response_must_be_stored(openai_http: OpenAIHttp, model: ModelServer) -> None:
    assert await openai_http.refused(input="hi", background=True, store=False) == (400, "invalid_value", "store")


async def test_a_response_that_is_not_over_cannot_be_gone_on_from(openai_http: OpenAIHttp, model: ModelServer) -> None:
    gate = asyncio.Event()
    model.enqueue(held(gate))
    accepted = await openai_http.create(input="hi", background=True)
    status, code, param = await openai_http.refused(input="hi", previous_response_id=accepted["id"])
    assert (status, code, param) == (409, "previous_response_not_over", "previous_response_id")
    gate.set()
    await openai_http.replay(accepted["id"])


async def test_deleting_ends_what_is_under_way(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(Stream([*text("half"), Hold()]))
    accepted = await openai_http.create(input="hi", background=True)
    request = await model.arrival()
    await openai_http.json("DELETE", f"/v1/responses/{accepted['id']}")
    await asyncio.wait_for(request.gone.wait(), PATIENCE)
    assert await openai_http.error("GET", f"/v1/responses/{accepted['id']}") == (404, "not_found", None)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_who_leaves_a_response_that_is_not_stored_stops_the_model(
    openai_http: OpenAIHttp, model: ModelServer, stream: bool
) -> None:
    model.enqueue(Stream([*text("half"), Hold()]))
    asking = asyncio.create_task(_ask(openai_http, stream=stream))
    request = await model.arrival()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.wait_for(request.gone.wait(), PATIENCE)


async def _ask(openai_http: OpenAIHttp, *, stream: bool) -> None:
    if stream:
        await openai_http.stream(input="hi", store=False)
    else:
        await openai_http.create(input="hi", store=False)


async def test_who_leaves_a_response_that_is_stored_finds_it_whole_later(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    gate = asyncio.Event()
    model.enqueue(held(gate))
    async with openai_http.streaming(input="hi") as events:
        created = await anext(events)
    gate.set()
    *_, last = await openai_http.replay(created["response"]["id"])
    assert last["type"] == "response.completed"
    assert text_of(last["response"]) == "half and half"


async def test_a_run_that_was_answered_stays_as_it_was(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(answer("so"))
    response = await openai_http.create(input="hi")
    assert response["status"] in OVER
    assert await openai_http.get(response["id"]) == response
