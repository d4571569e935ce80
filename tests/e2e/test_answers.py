"""Whole and streamed answers, and what of a request reaches the model."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from tests.e2e.sdk import Sdk, data_of, text_of, user
from tests.support.model_server import (
    DONE,
    ModelServer,
    Stream,
    answer,
    call,
    calls,
    finish,
    reasoning,
    text,
    usage,
)

PICTURE = "data:image/png;base64,iVBORw0KGgo="


async def test_an_answer_streams_as_it_is_whole(sdk: Sdk, model: ModelServer) -> None:
    words = ("Grüße", " aus", " 東京", " 🚀", '\n\n\tand back \u2028 \\ "quoted"')
    model.enqueue(answer(*words), answer(*words))
    whole = await sdk.complete(model="assistant", messages=user("hello"))
    chunks = await sdk.stream(model="assistant", messages=user("hello"))
    assert whole.choices[0].message.content == text_of(chunks) == "".join(words)
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", *[None] * (len(chunks) - 1)]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [*[None] * (len(chunks) - 1), "stop"]
    assert {(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks} == {
        (chunks[0].id, chunks[0].created, "assistant", "chat.completion.chunk")
    }
    assert {chunk.usage for chunk in chunks} == {None}
    assert len(model.requests) == 2


async def test_each_piece_of_the_model_is_a_chunk_of_its_own(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(answer("one ", "two ", "three"))
    chunks = await sdk.stream(model="assistant", messages=user("count"))
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == ["one ", "two ", "three"]


@pytest.mark.parametrize(("newline", "comments"), [("\r\n", True), ("\n", True), ("\r\n", False)])
async def test_the_framing_of_the_models_stream_changes_no_text(
    sdk: Sdk, model: ModelServer, newline: str, comments: bool
) -> None:
    model.enqueue(Stream([*text("day", "light"), finish(), usage(1, 1), DONE], newline=newline, comments=comments))
    assert text_of(await sdk.stream(model="assistant", messages=user("hello"))) == "daylight"


async def test_usage_is_the_models_own(sdk: Sdk, model: ModelServer) -> None:
    spent = usage(30, 12, cached=20, reasoning_tokens=7)
    model.enqueue(*[Stream([*text("so"), finish(), spent, DONE])] * 2)
    whole = await sdk.complete(model="assistant", messages=user("hello"))
    chunks = await sdk.stream(model="assistant", messages=user("hello"), stream_options={"include_usage": True})
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.usage.total_tokens) == (30, 12, 42)
    assert whole.usage.prompt_tokens_details is not None
    assert whole.usage.prompt_tokens_details.cached_tokens == 20
    assert whole.usage.completion_tokens_details is not None
    assert whole.usage.completion_tokens_details.reasoning_tokens == 7
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_every_role_reaches_the_model_in_order(sdk: Sdk, model: ModelServer) -> None:
    asked: list[Any] = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "three", "name": "ada"},
        {"role": "assistant", "content": "four"},
        {"role": "user", "content": [{"type": "text", "text": "five"}, {"type": "text", "text": "six"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"at":  "x"}'}},
                {"id": "call_b", "type": "function", "function": {"name": "look", "arguments": "not json"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_b", "content": "seen b"},
        {"role": "tool", "tool_call_id": "call_a", "content": [{"type": "text", "text": "seen a"}]},
    ]
    await sdk.complete(model="assistant", messages=asked)
    sent = model.requests[0].messages
    assert [message["role"] for message in sent[:2]] == ["system", "developer"]
    assert [_plain(message) for message in sent] == [_plain(message) for message in asked]
    assert sent[2]["name"] == "ada"
    assert sent[5]["tool_calls"] == asked[5]["tool_calls"]
    assert [message["tool_call_id"] for message in sent[6:]] == ["call_b", "call_a"]


async def test_an_answer_may_end_on_an_assistant_message(sdk: Sdk, model: ModelServer) -> None:
    messages = [*user("Write a line."), {"role": "assistant", "content": "Once upon"}]
    await sdk.complete(model="assistant", messages=messages)
    assert [(message["role"], _plain(message)) for message in model.requests[0].messages] == [
        ("user", "Write a line."),
        ("assistant", "Once upon"),
    ]


async def test_the_callers_instructions_come_on_top_of_the_agents(sdk: Sdk, model: ModelServer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *user("hello")]
    await sdk.complete(model="careful", messages=messages)
    assert [_plain(message) for message in model.requests[0].messages] == ["Be careful.", "Be brief.", "hello"]


async def test_pictures_reach_the_model_with_their_detail(sdk: Sdk, model: ModelServer) -> None:
    pictures = [
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}},
    ]
    content = [{"type": "text", "text": "What is this?"}, *pictures]
    await sdk.complete(model="assistant", messages=[{"role": "user", "content": content}])
    sent = model.requests[0].messages[0]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url", "image_url", "image_url"]
    assert [part["image_url"]["url"] for part in sent[1:]] == [part["image_url"]["url"] for part in pictures]  # type: ignore[index]  # pictures are of one form
    assert [part["image_url"].get("detail", "auto") for part in sent[1:]] == ["low", "high", "auto"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0.5},
        {"temperature": 0},
        {"top_p": 0.25},
        {"presence_penalty": -1.5, "frequency_penalty": 1.5},
        {"seed": 7},
        {"logit_bias": {"50256": -100}},
        {"stop": ["END", "\n"]},
        {"max_completion_tokens": 5},
        {"reasoning_effort": "low"},
        {"verbosity": "high"},
        {"service_tier": "flex"},
        {"user": "ada", "safety_identifier": "a", "prompt_cache_key": "k"},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "point", "schema": {"type": "object", "maximum": 2**70}, "strict": True},
            }
        },
        {"prediction": {"type": "content", "content": "x"}},
        {"extra_body": {"top_k": 40, "chat_template_kwargs": {"enable_thinking": False}}},
    ],
    ids=",".join,
)
async def test_a_parameter_reaches_the_model(sdk: Sdk, model: ModelServer, parameters: dict[str, Any]) -> None:
    await sdk.complete(model="assistant", messages=user("hello"), **parameters)
    expected = parameters.get("extra_body", parameters)
    assert {name: model.requests[0].body.get(name) for name in expected} == expected


async def test_max_tokens_reaches_the_model_in_its_own_spelling(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(answer("cut", reason="length"))
    completion = await sdk.complete(model="assistant", messages=user("hello"), max_tokens=3)
    assert model.requests[0].body["max_tokens"] == 3
    assert "max_completion_tokens" not in model.requests[0].body
    assert completion.choices[0].finish_reason == "length"


async def test_a_single_stop_text_reaches_the_model(sdk: Sdk, model: ModelServer) -> None:
    await sdk.complete(model="assistant", messages=user("hello"), stop="END")
    assert model.requests[0].body["stop"] in ("END", ["END"])


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_a_finish_reason_is_the_models(sdk: Sdk, model: ModelServer, reason: str) -> None:
    model.enqueue(answer("part", reason=reason), answer("part", reason=reason))
    whole = await sdk.complete(model="assistant", messages=user("hello"))
    chunks = await sdk.stream(model="assistant", messages=user("hello"))
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == reason
    assert whole.choices[0].message.content == text_of(chunks) == "part"


async def test_three_choices_come_from_one_model_call(sdk: Sdk, model: ModelServer) -> None:
    pieces = [*text("a", index=0), *text("b", index=1), *text("c", index=2), *text("A", index=0)]
    ends = [finish(index=index) for index in (2, 0, 1)]
    model.enqueue(*[Stream([*pieces, *ends, usage(3, 4), DONE])] * 2)
    whole = await sdk.complete(model="assistant", messages=user("hello"), n=3)
    chunks = await sdk.stream(model="assistant", messages=user("hello"), n=3)
    assert [(choice.index, choice.message.content) for choice in whole.choices] == [(0, "aA"), (1, "b"), (2, "c")]
    assert [text_of(chunks, index) for index in range(3)] == ["aA", "b", "c"]
    finished = [choice.index for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert sorted(finished) == [0, 1, 2]
    assert [request.body["n"] for request in model.requests] == [3, 3]


async def test_a_models_thoughts_are_beside_its_answer(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(*[Stream([*reasoning("hm", "m"), *text("yes"), finish(), usage(1, 2), DONE])] * 2)
    whole = await sdk.complete(model="assistant", messages=user("hello"))
    chunks = await sdk.stream(model="assistant", messages=user("hello"))
    assert whole.choices[0].message.content == text_of(chunks) == "yes"
    thoughts = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content") or "" for chunk in chunks]
    assert (whole.choices[0].message.model_extra or {})["reasoning_content"] == "".join(thoughts) == "hmm"


async def test_the_agents_own_tools_run_inside_the_answer(sdk: Sdk, model: ModelServer) -> None:
    model.enqueue(
        calls(call("weather", {"city": "Rome"}, call_id="call_1"), tokens=(10, 5)),
        answer("It is sunny.", tokens=(20, 7)),
    )
    completion = await sdk.complete(model="tooled", messages=user("How is Rome?"))
    message = completion.choices[0].message
    assert (message.content, message.tool_calls) == ("It is sunny.", None)
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (30, 12)
    output = model.requests[1].messages[-1]
    assert (output["role"], output["tool_call_id"], _plain(output)) == ("tool", "call_1", "sunny in Rome")


async def test_the_demo_needs_no_model(sdk: Sdk) -> None:
    whole = await sdk.complete(model="demo", messages=user("What is 6 * 7?"))
    chunks = await sdk.stream(model="demo", messages=user("What is 6 * 7?"))
    assert "42" in (whole.choices[0].message.content or "")
    assert text_of(chunks) == whole.choices[0].message.content


async def test_the_answer_says_which_agent_gave_it(sdk: Sdk, model: ModelServer) -> None:
    completion = await sdk.complete(model="assistant", messages=user("hello"))
    assert (completion.model, completion.object) == ("assistant", "chat.completion")
    assert model.requests[0].body["model"] == "scripted", "the agent's own model, and not the caller's word for it"


async def test_a_stream_is_data_lines_and_ends_with_done(http: aiohttp.ClientSession, model: ModelServer) -> None:
    body = {"model": "assistant", "stream": True, "messages": user("a b c")}
    async with http.post("/v1/chat/completions", json=body) as response:
        raw = await response.read()
        assert response.content_type == "text/event-stream"
        assert (response.headers["Cache-Control"], response.headers["X-Accel-Buffering"]) == ("no-cache", "no")
        assert response.headers["x-request-id"]
    frames = data_of(raw.decode())
    assert (frames[-1], raw.count(b"[DONE]")) == ("[DONE]", 1)
    assert len(frames) > 4


def _plain(message: dict[str, Any]) -> str | None:
    content: str | Sequence[dict[str, str]] | None = message["content"]
    return content if content is None or isinstance(content, str) else "".join(part["text"] for part in content)
