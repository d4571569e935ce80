"""LangChain's ChatOpenAI, over both of OpenAI's APIs, in a loop with a tool."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient
from pydantic import BaseModel, SecretStr

from tests.support.model_server import ModelServer, answer, call, calls
from tests.support.system import System

CALLS = calls(
    call("weather", {"city": "Rome"}, call_id="call_a"), call("weather", {"city": "Oslo"}, call_id="call_b", at=1)
)


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


class Point(BaseModel):
    """A point."""

    x: int
    y: int


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
async def chat(request: pytest.FixtureRequest, system: System) -> AsyncIterator[ChatOpenAI]:
    # LangChain's own connections would outlive the test's loop.
    async with DefaultAsyncHttpxClient() as connections:
        yield ChatOpenAI(
            model="assistant",
            base_url=f"{system.url}/v1",
            api_key=SecretStr("unused"),
            http_async_client=connections,
            use_responses_api=request.param,
            max_retries=0,
            stream_usage=True,
        )


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_loop_with_tools(chat: ChatOpenAI, model: ModelServer, streamed: bool) -> None:
    model.enqueue(CALLS, answer("Both are ", "sunny."))
    agent = chat.bind_tools([weather])
    messages: list[BaseMessage] = [HumanMessage("How are Rome and Oslo?")]
    said: Any = None
    for _ in range(2):
        if streamed:
            said = AIMessageChunk(content="")
            async for chunk in agent.astream(messages):
                said += chunk
        else:
            said = await agent.ainvoke(messages)
        messages.append(said)
        messages += [ToolMessage(weather.invoke(made["args"]), tool_call_id=made["id"]) for made in said.tool_calls]
    assert said.text == "Both are sunny."
    assert said.usage_metadata["total_tokens"] == 15
    sent = model.requests[1].messages
    assert [each["role"] for each in sent] == ["user", "assistant", "tool", "tool"]
    assert [made["id"] for made in sent[1]["tool_calls"]] == ["call_a", "call_b"]
    assert [each["content"] for each in sent[2:]] == ["sunny in Rome", "sunny in Oslo"]


async def test_structured_output(chat: ChatOpenAI, model: ModelServer) -> None:
    model.enqueue(answer('{"x":1,', '"y":2}'))
    assert await chat.with_structured_output(Point).ainvoke("Where?") == Point(x=1, y=2)
