"""previous_response_id: the model sees what was said before, once, in order, over branches; and nothing is copied."""

import re
import sqlite3
from typing import Any

from tests.e2e.responses.openai_http import Json, OpenAIHttp, function, message, output_of, text_of
from tests.support.model_server import (
    DONE,
    ModelServer,
    Request,
    Stream,
    answer,
    call,
    calls,
    error,
    finish,
    reasoning,
    text,
)
from tests.support.system import System

PICTURE = "data:image/png;base64,iVBORw0KGgo="
UNKNOWN = "resp_019a3e5c7d0070008000000000000001"


def seen(request: Request) -> list[tuple[str, Any]]:
    """Who said what, as the model got it."""
    return [(each["role"], each["content"]) for each in request.messages]


async def test_a_chain_carries_all_that_was_said_once_and_in_order(openai_http: OpenAIHttp, model: ModelServer) -> None:
    picture = {"type": "input_image", "image_url": PICTURE, "detail": "high"}
    looks = {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, picture]}
    model.enqueue(answer("A dot."), answer("Red."), answer("Small."), answer("Round."))
    first = await openai_http.create(input=[message("developer", "Be kind."), looks], instructions="Only the first.")
    second = (await openai_http.stream(input="What colour?", previous_response_id=first["id"]))[-1]["response"]
    third = await openai_http.create(
        input=[message("developer", "Be brief."), message("user", "What size?")],
        previous_response_id=second["id"],
        instructions="Only the third.",
    )
    fourth = await openai_http.create(input="What form?", previous_response_id=third["id"])

    assert seen(model.requests[0])[0] == ("system", "Only the first.")
    what = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "high"}},
    ]
    beginning = [("user", what), ("assistant", "A dot."), ("user", "What colour?"), ("assistant", "Red.")]
    assert seen(model.requests[1]) == [("developer", "Be kind."), *beginning[:3]]
    assert seen(model.requests[2]) == [
        ("system", "Only the third."),
        ("developer", "Be kind."),
        ("developer", "Be brief."),
        *beginning,
        ("user", "What size?"),
    ]
    assert seen(model.requests[3]) == [
        ("developer", "Be kind."),
        ("developer", "Be brief."),
        *beginning,
        ("user", "What size?"),
        ("assistant", "Small."),
        ("user", "What form?"),
    ]
    assert fourth["previous_response_id"] == third["id"]
    assert fourth["instructions"] is None
    read = await openai_http.input_items(fourth["id"], order="asc")
    assert [item["content"][0]["text"] for item in read["data"]] == [
        "Be kind.",
        "What is this?",
        "A dot.",
        "What colour?",
        "Red.",
        "Be brief.",
        "What size?",
        "Small.",
        "What form?",
    ]


async def test_branches_do_not_see_each_other(openai_http: OpenAIHttp, model: ModelServer) -> None:
    root = await openai_http.create(input="root")
    left = await openai_http.create(input="left", previous_response_id=root["id"])
    right = await openai_http.create(input="right", previous_response_id=root["id"])
    await openai_http.create(input="left again", previous_response_id=left["id"])
    await openai_http.create(input="right again", previous_response_id=right["id"])
    said = [[content for role, content in seen(request) if role == "user"] for request in model.requests]
    assert said == [
        ["root"],
        ["root", "left"],
        ["root", "right"],
        ["root", "left", "left again"],
        ["root", "right", "right again"],
    ]


async def test_a_call_is_answered_with_the_previous_response_alone(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(
        calls(
            call("weather", '{"city":  "Rome"}', call_id="call_a"),
            call("time", '{"city": "Rome"}', call_id="call_b", at=1),
            before=text("Let me look."),
        ),
        answer("Sunny, noon."),
    )
    tools = [function("weather"), function("time")]
    first = await openai_http.create(input="How is Rome?", tools=tools)
    outputs = [
        output_of("call_b", "noon"),
        output_of("call_a", [{"type": "input_text", "text": "sun"}, {"type": "input_text", "text": "ny"}]),
    ]
    second = await openai_http.create(input=outputs, tools=tools, previous_response_id=first["id"])
    assert text_of(second) == "Sunny, noon."
    _, asked, *answered = model.requests[1].messages
    assert asked["content"] == "Let me look."
    assert [(each["id"], each["function"]["arguments"]) for each in asked["tool_calls"]] == [
        ("call_a", '{"city":  "Rome"}'),
        ("call_b", '{"city": "Rome"}'),
    ]
    assert [(each["role"], each["tool_call_id"]) for each in answered] == [("tool", "call_b"), ("tool", "call_a")]
    assert answered[1]["content"] == [{"type": "text", "text": "sun"}, {"type": "text", "text": "ny"}]


async def test_a_call_is_answered_without_any_state_by_passing_all_items_back(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    thinks = reasoning("I should look.")
    model.enqueue(
        Stream([*thinks, *call("weather", {"city": "Rome"}, call_id="call_a"), finish("tool_calls"), DONE]),
        answer("Sunny."),
    )
    tools = [function("weather")]
    include = ["reasoning.encrypted_content"]
    before = [{"role": "user", "content": "How is Rome?"}]
    first = await openai_http.create(input=before, tools=tools, store=False, include=include)
    assert [item["type"] for item in first["output"]] == ["reasoning", "function_call"]
    again = [*before, *first["output"], output_of("call_a", "sunny")]
    second = await openai_http.create(input=again, tools=tools, store=False, include=include)
    assert text_of(second) == "Sunny."
    assert [each["role"] for each in model.requests[1].messages] == ["user", "assistant", "tool"]


async def test_the_agents_own_calls_are_part_of_what_was_said(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(calls(call("weather", {"city": "Rome"}, call_id="call_a")), answer("Sunny."), answer("Yes."))
    first = await openai_http.create(model="tooled", input="How is Rome?")
    await openai_http.create(model="tooled", input="Sure?", previous_response_id=first["id"])
    messages = model.requests[2].messages
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert (messages[2]["tool_call_id"], messages[2]["content"]) == ("call_a", "sunny in Rome")


async def test_history_that_is_given_wins_over_the_chain(openai_http: OpenAIHttp, model: ModelServer) -> None:
    first = await openai_http.create(input="stored")
    given = [{"role": "user", "content": "given"}, {"role": "assistant", "content": "taken"}]
    second = await openai_http.create(input="next", conversation_history=given, previous_response_id=first["id"])
    assert seen(model.requests[1]) == [("user", "given"), ("assistant", "taken"), ("user", "next")]
    await openai_http.create(input="last", previous_response_id=second["id"])
    assert [content for _, content in seen(model.requests[2])] == ["given", "taken", "next", "next", "last"]


async def test_an_item_can_be_referred_to(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(answer("A poem."))
    first = await openai_http.create(input="Write.")
    (poem,) = first["output"]
    for reference in ({"type": "item_reference", "id": poem["id"]}, {"id": poem["id"]}):
        await openai_http.create(input=[reference, {"role": "user", "content": "Shorter."}])
        assert seen(model.requests[-1]) == [("assistant", "A poem."), ("user", "Shorter.")]


async def test_an_answer_that_was_cut_is_gone_on_from(openai_http: OpenAIHttp, model: ModelServer) -> None:
    model.enqueue(answer("One, two", reason="length"))
    first = await openai_http.create(input="Count.", max_output_tokens=2)
    await openai_http.create(input="Go on.", previous_response_id=first["id"])
    assert seen(model.requests[1]) == [("user", "Count."), ("assistant", "One, two"), ("user", "Go on.")]


async def test_the_rest_of_a_chain_outlives_a_deleted_response(openai_http: OpenAIHttp, model: ModelServer) -> None:
    first = await openai_http.create(input="one")
    second = await openai_http.create(input="two", previous_response_id=first["id"])
    third = await openai_http.create(input="three", previous_response_id=second["id"])
    await openai_http.json("DELETE", f"/v1/responses/{second['id']}")
    assert await openai_http.get(third["id"]) == third
    read = await openai_http.input_items(third["id"], order="asc")
    assert [item["content"][0]["text"] for item in read["data"]] == ["one", "one", "three"]
    await openai_http.create(input="four", previous_response_id=third["id"])
    assert [content for role, content in seen(model.requests[-1]) if role == "user"] == ["one", "three", "four"]


async def test_turn_200_writes_as_much_as_turn_1(openai_http: OpenAIHttp, model: ModelServer, system: System) -> None:
    chain: list[Json] = []
    for turn in range(200):
        body = {"model": "assistant", "input": f"turn {turn:03}"}
        if chain:
            body["previous_response_id"] = chain[-1]["id"]
        chain.append(await openai_http.json("POST", "/v1/responses", json=body))
    (first, size), *later = [_rows(system, response["id"]) for response in (*chain[:2], chain[99], chain[199])]
    assert first["items"] == 2
    for rows, larger in later:
        assert rows == first
        # The first names no response before it, and larger figures of usage take a byte more.
        assert larger - size < 200
    said = [content for role, content in seen(model.requests[-1]) if role == "user"]
    assert said == [f"turn {turn:03}" for turn in range(200)], "and yet the model sees it all"
    page = await openai_http.input_items(chain[-1]["id"], limit=100)
    assert page["has_more"]


def _rows(system: System, response_id: str) -> tuple[dict[str, int], int]:
    """How many rows of each table are a run's own, and about how many bytes they hold."""
    run_id = response_id.replace("resp_", "run_")
    (path,) = (system.directory / "data").rglob("*.sqlite3")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows, size = {}, 0
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            key = "id" if table == "runs" else "run_id"
            if key in columns:
                found = connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (run_id,)).fetchall()  # noqa: S608 - names of tables
                # How many events share a row depends on how fast they came: what counts is how many there are.
                rows[table] = sum(row[2] - row[1] + 1 for row in found) if table == "events" else len(found)
                size += sum(len(value) for row in found for value in row if isinstance(value, bytes))
        return rows, size
    finally:
        connection.close()


async def test_an_unknown_previous_response_is_named(openai_http: OpenAIHttp, model: ModelServer) -> None:
    expected = (400, "previous_response_not_found", "previous_response_id")
    kept_nowhere = await openai_http.create(input="hi", store=False)
    for unknown in (UNKNOWN, "nonsense", "resp_../../etc", kept_nowhere["id"]):
        assert await openai_http.refused(input="hi", previous_response_id=unknown) == expected
        assert await openai_http.refused(input="hi", previous_response_id=unknown, stream=True) == expected
    assert re.fullmatch(r"resp_[0-9a-f]{32}", kept_nowhere["id"])
    assert len(model.requests) == 1


async def test_the_oldest_is_left_out_only_where_the_caller_says_so(
    openai_http: OpenAIHttp, model: ModelServer
) -> None:
    too_long = error(400, "Too many tokens.", code="context_length_exceeded")
    first = await openai_http.create(input=[message("developer", "Be kind."), message("user", "one")])
    second = await openai_http.create(input="two", previous_response_id=first["id"])
    model.enqueue(too_long)
    refused = await openai_http.refused(input="three", previous_response_id=second["id"])
    assert refused[:2] == (400, "context_length_exceeded")
    model.enqueue(too_long, answer("short enough"))
    third = await openai_http.create(input="three", previous_response_id=second["id"], truncation="auto")
    assert (text_of(third), third["truncation"]) == ("short enough", "auto")
    assert seen(model.requests[-1]) == [
        ("developer", "Be kind."),
        ("user", "two"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    read = await openai_http.input_items(third["id"])
    assert len(read["data"]) == 6, "what the model does not see is stored all the same"
