"""The caller's own tools: the calls come out as the model wrote them, and the outputs go back to it."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from tests.e2e.sdk import Sdk, text_of, user
from tests.support.model_server import ModelServer, Stream, answer, call, calls, text


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": parameters}}


TOOLS: list[Any] = [_tool("weather"), _tool("time")]

# What the model asks for, call by call: (call_id, name, arguments as it writes them).
ONE = [("call_1", "weather", '{"city":  "Rome"}')]
TWO = [("call_1", "weather", '{"city": "Rome"}'), ("call_2", "time", '{"city": "東京"}')]
BROKEN = [("call_1", "weather", '{"city": "Ro')]
BARE = [("call_1", "time", "")]

CALLS = pytest.mark.parametrize("asked", [ONE, TWO, BROKEN, BARE], ids=["one", "parallel", "no JSON", "no arguments"])


def _reply(asked: Sequence[tuple[str, str, str]]) -> Stream:
    return calls(*[call(name, arguments, call_id=id_, at=at) for at, (id_, name, arguments) in enumerate(asked)])


@CALLS
async def test_calls_come_out_as_the_model_wrote_them(
    sdk: Sdk, model: ModelServer, asked: Sequence[tuple[str, str, str]]
) -> None:
    model.enqueue(_reply(asked))
    completion = await sdk.complete(model="assistant", messages=user("How is it?"), tools=TOOLS)
    choice = completion.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    made = [
        (one.id, one.function.name, one.function.arguments)
        for one in choice.message.tool_calls
        if one.type == "function"
    ]
    assert made == asked
    assert len(model.requests) == 1, "the call is the caller's: the model is not asked again"


@CALLS
async def test_streamed_calls_are_the_same(sdk: Sdk, model: ModelServer, asked: Sequence[tuple[str, str, str]]) -> None:
    model.enqueue(_reply(asked))
    chunks = await sdk.stream(model="assistant", messages=user("How is it?"), tools=TOOLS)
    assert _gathered(chunks) == list(asked)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [*[None] * (len(chunks) - 1), "tool_calls"]
    assert text_of(chunks) == ""
    assert len(model.requests) == 1


@pytest.mark.parametrize("asked", [ONE, TWO], ids=["one", "parallel"])
async def test_outputs_go_back_to_the_model(
    sdk: Sdk, model: ModelServer, asked: Sequence[tuple[str, str, str]]
) -> None:
    model.enqueue(_reply(asked), answer("It is fine."))
    first = await sdk.complete(model="assistant", messages=user("How is it?"), tools=TOOLS)
    said = first.choices[0].message.model_dump(exclude_none=True)
    # In any order, as text and as parts.
    outputs = [{"role": "tool", "tool_call_id": id_, "content": f"of {id_}"} for id_, _, _ in reversed(asked)]
    outputs[0]["content"] = [{"type": "text", "text": outputs[0]["content"]}]  # type: ignore[assignment]  # both are allowed
    messages: list[Any] = [*user("How is it?"), {**said, "role": "assistant"}, *outputs]
    second = await sdk.complete(model="assistant", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "It is fine."
    sent = model.requests[1].messages
    assert [message["role"] for message in sent] == ["user", "assistant", *["tool"] * len(asked)]
    assert [(one["id"], one["function"]["arguments"]) for one in sent[1]["tool_calls"]] == [
        (id_, arguments) for id_, _, arguments in asked
    ]
    assert [message["tool_call_id"] for message in sent[2:]] == [id_ for id_, _, _ in reversed(asked)]


async def test_text_before_a_call_is_kept(sdk: Sdk, model: ModelServer) -> None:
    reply = calls(call("weather", {}, call_id="call_1"), before=text("Let me ", "look."))
    model.enqueue(reply, reply)
    whole = await sdk.complete(model="assistant", messages=user("How is it?"), tools=TOOLS)
    chunks = await sdk.stream(model="assistant", messages=user("How is it?"), tools=TOOLS)
    assert whole.choices[0].message.content == text_of(chunks) == "Let me look."
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.tool_calls


@pytest.mark.parametrize(
    "choice",
    [
        "none",
        "auto",
        "required",
        {"type": "function", "function": {"name": "time"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "time"}}]},
        },
    ],
    ids=["none", "auto", "required", "one function", "allowed tools"],
)
async def test_a_tool_choice_reaches_the_model(sdk: Sdk, model: ModelServer, choice: Any) -> None:
    await sdk.complete(
        model="assistant", messages=user("hello"), tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
    )
    sent = model.requests[0].body
    assert sent["tools"] == TOOLS
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == (choice, False)


async def test_the_sdks_own_stream_helper_gathers_the_calls(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(_reply(TWO))
    async with client.chat.completions.stream(model="assistant", messages=user("How is it?"), tools=TOOLS) as stream:
        completion = await stream.get_final_completion()
    made = completion.choices[0].message.tool_calls
    assert made is not None
    assert [(one.id, one.function.name, one.function.arguments) for one in made] == TWO


async def test_the_demo_hands_a_call_to_the_caller(sdk: Sdk) -> None:
    first = await sdk.complete(model="demo", messages=user("Please call weather."), tools=TOOLS)
    said = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert said.tool_calls is not None
    messages = [
        *user("Please call weather."),
        said.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "hail in Rome"},
    ]
    second = await sdk.complete(model="demo", messages=messages, tools=TOOLS)
    assert "hail in Rome" in (second.choices[0].message.content or "")


async def test_tool_progress_comes_only_to_those_who_ask(http: aiohttp.ClientSession) -> None:
    body = {"model": "demo", "stream": True, "messages": user("What is 6 * 7?")}
    async with http.post("/v1/chat/completions", json=body) as response:
        assert "event:" not in await response.text()
    async with http.post(
        "/v1/chat/completions", json=body, headers={"X-Breezeway-Events": "tool_progress"}
    ) as response:
        progress = await response.text()
    assert progress.count("event: tool_progress") >= 2
    assert '"tool":"calculator"' in progress


def _gathered(chunks: Sequence[ChatCompletionChunk]) -> list[tuple[str, str, str]]:
    """The calls as a client puts them together, with the rules that clients rely on."""
    made: list[tuple[str, str, str]] = []
    for chunk in chunks:
        for piece in chunk.choices[0].delta.tool_calls or ():
            assert piece.function is not None
            if piece.index == len(made):
                assert piece.type == "function"
                made.append((piece.id or "", piece.function.name or "", piece.function.arguments or ""))
            else:
                assert (piece.id, piece.type, piece.function.name) == (None, None, None), "later pieces are arguments"
                id_, name, arguments = made[piece.index]
                made[piece.index] = (id_, name, arguments + (piece.function.arguments or ""))
    return made
