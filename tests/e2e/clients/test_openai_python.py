"""The official Python client's helpers, async and sync: what accumulates, parses and shows what came over the wire."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import ResponseFunctionToolCall
from pydantic import BaseModel

from tests.support.model_server import ModelServer, answer, call, calls

MODEL = "assistant"
HI: list[Any] = [{"role": "user", "content": "hi"}]
WEATHER: dict[str, Any] = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALL = call("weather", {"city": "Rome"}, call_id="call_a")


class Point(BaseModel):
    x: int
    y: int


POINT = answer('{"x":1,', '"y":2}')


async def test_responses_stream_accumulates(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(calls(CALL), answer("Hel", "lo"))
    tools: list[Any] = [{"type": "function", **WEATHER, "strict": False}]
    async with client.responses.stream(model=MODEL, input="hi", tools=tools) as stream:
        types = [event.type async for event in stream]
        first = await stream.get_final_response()
    assert types[0] == "response.created"
    assert types[-1] == "response.completed"
    (made,) = first.output
    assert isinstance(made, ResponseFunctionToolCall)
    assert (made.call_id, made.arguments) == ("call_a", '{"city": "Rome"}')
    output: Any = {"type": "function_call_output", "call_id": "call_a", "output": "sunny"}
    async with client.responses.stream(model=MODEL, input=[output], previous_response_id=first.id) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        second = await stream.get_final_response()
    assert ("".join(deltas), second.output_text) == ("Hello", "Hello")


def test_responses_stream_accumulates_in_sync_code_too(sync_client: OpenAI) -> None:
    with sync_client.responses.stream(model="demo", input="hi") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == said


async def test_a_stream_can_be_taken_up_by_its_id(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(answer("Hel", "lo"))
    response_id = ""
    created = await client.responses.create(model=MODEL, input="hi", background=True, stream=True)
    async with created:
        async for event in created:
            if event.type == "response.created":
                response_id = event.response.id
            if event.type == "response.output_text.delta":
                break
    async with client.responses.stream(response_id=response_id, starting_after=3) as stream:
        numbers = [event.sequence_number async for event in stream]
        assert (await stream.get_final_response()).output_text == "Hello"
    assert numbers == list(range(4, numbers[-1] + 1))


async def test_responses_parse_gives_the_callers_type(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(POINT)
    parsed = await client.responses.parse(model=MODEL, input="Where?", text_format=Point)
    assert parsed.output_parsed == Point(x=1, y=2)
    assert model.requests[0].body["response_format"]["json_schema"]["strict"] is True


async def test_chat_completions_parse_gives_the_callers_type(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(POINT)
    parsed = await client.chat.completions.parse(model=MODEL, messages=HI, response_format=Point)
    assert parsed.choices[0].message.parsed == Point(x=1, y=2)


async def test_sync_parse_gives_the_callers_type(sync_client: OpenAI, model: ModelServer) -> None:
    model.enqueue(POINT, POINT)
    response = await asyncio.to_thread(sync_client.responses.parse, model=MODEL, input="Where?", text_format=Point)
    completion = await asyncio.to_thread(
        sync_client.chat.completions.parse, model=MODEL, messages=HI, response_format=Point
    )
    assert response.output_parsed == completion.choices[0].message.parsed == Point(x=1, y=2)


async def test_an_answer_that_was_cut_is_not_parsed(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(answer('{"x":', reason="length"))
    with pytest.raises(openai.LengthFinishReasonError):
        await client.chat.completions.parse(model=MODEL, messages=HI, response_format=Point)


async def test_chat_completions_stream_accumulates(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(calls(CALL), POINT)
    tools: list[Any] = [{"type": "function", "function": {**WEATHER, "strict": True}}]
    async with client.chat.completions.stream(model=MODEL, messages=HI, tools=tools) as stream:
        types = [event.type async for event in stream]
        completion = await stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in types
    assert completion.choices[0].message.tool_calls is not None
    assert completion.choices[0].message.tool_calls[0].function.arguments == '{"city": "Rome"}'
    async with client.chat.completions.stream(model=MODEL, messages=HI, response_format=Point) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        parsed = await stream.get_final_completion()
    assert "".join(deltas) == '{"x":1,"y":2}'
    assert parsed.choices[0].message.parsed == Point(x=1, y=2)


def test_chat_completions_stream_accumulates_in_sync_code_too(sync_client: OpenAI) -> None:
    with sync_client.chat.completions.stream(model="demo", messages=HI) as stream:
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        assert stream.get_final_completion().choices[0].message.content == said


async def test_raw_responses_show_headers_and_what_is_parsed(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(answer("so"), answer("so"), answer("so"))
    raw = await client.responses.with_raw_response.create(model=MODEL, input="hi")
    response = raw.parse()
    assert (response.output_text, response._request_id) == ("so", raw.headers["x-request-id"])
    completion = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HI)
    assert completion.parse().choices[0].message.content == "so"
    async with client.responses.with_streaming_response.create(model=MODEL, input="hi") as streamed:
        assert (await streamed.parse()).output_text == "so"
        assert streamed.headers["x-run-id"].startswith("run_")


def test_sync_raw_responses_show_headers_too(sync_client: OpenAI) -> None:
    raw = sync_client.responses.with_raw_response.create(model="demo", input="hi")
    assert raw.parse()._request_id == raw.headers["x-request-id"]


async def test_pages_are_turned_by_themselves(client: AsyncOpenAI, model: ModelServer) -> None:
    items: list[Any] = [{"role": "user", "content": str(number)} for number in range(7)]
    response = await client.responses.create(model=MODEL, input=items)
    listed = [item async for item in client.responses.input_items.list(response.id, limit=3, order="asc")]
    assert len(listed) == 7
    conversation = await client.conversations.create(items=items)
    held = [item async for item in client.conversations.items.list(conversation.id, limit=3)]
    assert len(held) == 7
    await client.conversations.items.delete(held[0].id or "", conversation_id=conversation.id)
    assert (await client.conversations.delete(conversation.id)).deleted


@pytest.mark.parametrize(
    ("parameters", "error", "param"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model"),
        ({"temperature": 9.0}, openai.BadRequestError, "temperature"),
        ({"previous_response_id": "resp_1"}, openai.BadRequestError, "previous_response_id"),
    ],
)
async def test_errors_are_the_clients_own(
    client: AsyncOpenAI, parameters: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(error) as caught:
        await client.responses.create(**{"model": MODEL, "input": "hi", **parameters})
    assert caught.value.param == param
    assert caught.value.request_id
