"""The OpenAI Agents SDK, over both of OpenAI's APIs, in a loop with a tool."""

from collections.abc import Iterator

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.support.model_server import ModelServer, answer, call, calls

CALLS = calls(
    call("weather", {"city": "Rome"}, call_id="call_a"), call("weather", {"city": "Oslo"}, call_id="call_b", at=1)
)


@function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


class Point(BaseModel):
    x: int
    y: int


@pytest.fixture(autouse=True)
def _no_tracing() -> Iterator[None]:
    # Traces would go to OpenAI.
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@pytest.fixture(params=["chat", "responses"])
def upstream_model(
    request: pytest.FixtureRequest, client: AsyncOpenAI
) -> OpenAIChatCompletionsModel | OpenAIResponsesModel:
    if request.param == "chat":
        return OpenAIChatCompletionsModel("assistant", client)
    return OpenAIResponsesModel("assistant", client)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_loop_with_tools(
    upstream_model: OpenAIChatCompletionsModel | OpenAIResponsesModel, model: ModelServer, streamed: bool
) -> None:
    model.enqueue(CALLS, answer("Both are ", "sunny."))
    agent = Agent(
        name="forecaster",
        instructions="Be brief.",
        model=upstream_model,
        tools=[weather],
        model_settings=ModelSettings(parallel_tool_calls=True, include_usage=True),
    )
    if streamed:
        running = Runner.run_streamed(agent, "How are Rome and Oslo?")
        async for _ in running.stream_events():
            pass
        output = running.final_output
    else:
        output = (await Runner.run(agent, "How are Rome and Oslo?")).final_output
    assert output == "Both are sunny."
    sent = model.requests[1].messages
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [each["content"] for each in sent[3:]] == ["sunny in Rome", "sunny in Oslo"]
    assert model.requests[0].body["parallel_tool_calls"] is True


async def test_an_output_type(
    upstream_model: OpenAIChatCompletionsModel | OpenAIResponsesModel, model: ModelServer
) -> None:
    model.enqueue(answer('{"x":1,', '"y":2}'))
    agent = Agent(name="locator", model=upstream_model, output_type=Point)
    assert (await Runner.run(agent, "Where?")).final_output == Point(x=1, y=2)


async def test_a_conversation_that_is_kept_on_the_server(client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(calls(call("weather", {"city": "Rome"}, call_id="call_a")), answer("Sunny."), answer("Yes."))
    agent = Agent(name="forecaster", model=OpenAIResponsesModel("assistant", client), tools=[weather])
    conversation = await client.conversations.create()
    await Runner.run(agent, "How is Rome?", conversation_id=conversation.id)
    result = await Runner.run(agent, "Sure?", conversation_id=conversation.id)
    assert result.final_output == "Yes."
    assert [each["role"] for each in model.requests[2].messages] == ["user", "assistant", "tool", "assistant", "user"]
