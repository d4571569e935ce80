"""Vercel's AI SDK, with both of its providers for OpenAI's APIs."""

import pytest

from tests.e2e.clients.node import Node
from tests.support.model_server import ModelServer, answer, call, calls, error

MODULE = "ai_sdk"
each_provider = pytest.mark.parametrize("provider", ["responses", "chat", "compatible"])


@each_provider
async def test_stream_text(node: Node, model: ModelServer, provider: str) -> None:
    model.enqueue(answer("Hel", "lo", tokens=(10, 5)))
    seen = await node.run(MODULE, "streamText", provider)
    assert (seen["text"], "".join(seen["deltas"]), seen["finishReason"]) == ("Hello", "Hello", "stop")
    assert len(seen["deltas"]) == 2
    if provider != "compatible":
        assert (seen["usage"]["inputTokens"], seen["usage"]["outputTokens"]) == (10, 5)


@each_provider
async def test_generate_object(node: Node, model: ModelServer, provider: str) -> None:
    model.enqueue(answer('{"x":1,', '"y":2}'))
    seen = await node.run(MODULE, "generateObject", provider)
    assert seen["object"] == {"x": 1, "y": 2}
    assert model.requests[0].body["response_format"]["type"] == "json_schema"


@each_provider
@pytest.mark.parametrize("scenario", ["tools", "streamedTools"])
async def test_tools(node: Node, model: ModelServer, provider: str, scenario: str) -> None:
    model.enqueue(calls(call("weather", {"city": "Rome"}, call_id="call_a")), answer("Sunny."))
    seen = await node.run(MODULE, scenario, provider)
    assert (seen["text"], seen["asked"]) == ("Sunny.", ["Rome"])
    said = model.requests[1].messages
    assert [each["role"] for each in said] == ["user", "assistant", "tool"]
    assert said[2]["content"] == "sunny in Rome"


@each_provider
async def test_errors_are_told(node: Node, model: ModelServer, provider: str) -> None:
    model.enqueue(*[error(400, "That is too much.")] * 5)
    seen = await node.run(MODULE, "error", provider)
    assert seen["status"] == 400
    assert "That is too much." in seen["message"]
