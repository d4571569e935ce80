"""Traces over the whole way: from the HTTP request through both processes to the model and the tools."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from tests.support import model_server
from tests.support.model_server import DONE, ModelServer, Stream
from tests.support.system import System
from tests.support.trace_receiver import Span, TraceReceiver

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}
CONFIG = """
[agents.helper]
kind = "llm"
model = "small"
base_url = "{url}"
tools = ["traced_tools:double"]
"""
TOOL = '''
def double(number: int) -> int:
    """Twice a number."""
    return 2 * number
'''


class Traced(NamedTuple):
    system: System
    receiver: TraceReceiver
    models: ModelServer
    http: aiohttp.ClientSession


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    async with TraceReceiver.serving() as receiver, ModelServer.serving() as models:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        (tmp_path / "traced_tools.py").write_text(TOOL, encoding="utf-8")
        system = System(tmp_path, environ=environ, config=CONFIG.format(url=models.base_url))
        try:
            await asyncio.to_thread(system.start)
            async with aiohttp.ClientSession(system.url, headers=CALLER) as http:
                yield Traced(system, receiver, models, http)
        finally:
            await asyncio.to_thread(system.close)


def answer(*actions: model_server.Action) -> Stream:
    return Stream([*actions, DONE])


async def chain(receiver: TraceReceiver, span: Span) -> list[tuple[str, str, str]]:
    """Service, kind and name of a span and all that it is a part of, the innermost first."""
    found = [span]
    while found[-1].sent.parent_span_id.hex() != "b7ad6b7169203331":
        found.append(await receiver.parent(found[-1]))
    return [(each.service.removeprefix("breezeway-"), each.kind, each.name) for each in found]


def _has_id(span_id: str, span: Span) -> bool:
    return span.sent.span_id.hex() == span_id


async def test_one_trace_leads_from_the_request_to_the_model_and_its_tools(traced: Traced) -> None:
    traced.models.enqueue(
        answer(
            *model_server.call("double", {"number": 21}), model_server.finish("tool_calls"), model_server.usage(10, 5)
        ),
        answer(*model_server.text("It is ", "42."), model_server.finish(), model_server.usage(20, 7, cached=4)),
    )
    body = {"model": "helper", "messages": [{"role": "user", "content": "Double 21."}], "stream": True}
    async with traced.http.post("/v1/chat/completions", json=body) as response:
        assert "42." in await response.text()
    way = [
        ("server", "INTERNAL", "invoke_agent helper"),
        ("server", "SERVER", "breezeway.v1.StreamService/StreamRun"),
        ("shim", "CLIENT", "breezeway.v1.StreamService/StreamRun"),
        ("shim", "SERVER", "POST /v1/chat/completions"),
    ]
    tool = await traced.receiver.span(lambda span: span.name == "execute_tool double")
    assert await chain(traced.receiver, tool) == [("server", "INTERNAL", "execute_tool double"), *way]
    run = await traced.receiver.parent(tool)
    chats = []
    for asked in traced.models.requests:
        # The model's provider was told of the very span of its call.
        _, trace_id, span_id, _ = asked.headers["traceparent"].split("-")
        assert trace_id == TRACE_ID
        chat = await traced.receiver.span(partial(_has_id, span_id))
        assert await chain(traced.receiver, chat) == [("server", "CLIENT", "chat small"), *way]
        chats.append(chat)
    assert chats[1].attributes["gen_ai.operation.name"] == "chat"
    assert chats[1].attributes["gen_ai.request.model"] == "small"
    assert chats[1].attributes["gen_ai.usage.input_tokens"] == 20
    assert chats[1].attributes["gen_ai.usage.output_tokens"] == 7
    assert run.attributes["gen_ai.agent.name"] == "helper"
    assert run.attributes["gen_ai.usage.input_tokens"] == 30
    assert run.attributes["gen_ai.usage.output_tokens"] == 12
    assert tool.attributes["gen_ai.tool.name"] == "double"


async def test_a_failed_model_call_is_a_failed_span(traced: Traced) -> None:
    traced.models.enqueue(model_server.Refusal(400, {"error": {"message": "no"}}))
    async with traced.http.post("/v1/responses", json={"model": "helper", "input": "hello"}) as response:
        assert response.status == 400
    chat = await traced.receiver.span(lambda span: span.name == "chat small")
    assert chat.attributes["error.type"]
    run = await traced.receiver.parent(chat)
    assert run.attributes["error.type"] == chat.attributes["error.type"]


async def test_a_stream_that_is_resumed_points_to_its_run_also_after_a_restart(traced: Traced) -> None:
    traced.models.enqueue(answer(*model_server.text("Hello."), model_server.finish(), model_server.usage(1, 1)))
    async with traced.http.post("/v1/responses", json={"model": "helper", "input": "hello"}) as response:
        response_id = (await response.json())["id"]
    run = await traced.receiver.span(lambda span: span.name == "invoke_agent helper")
    await asyncio.to_thread(traced.system.terminate)
    await asyncio.to_thread(traced.system.start)
    other = {"traceparent": "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    path = f"/v1/responses/{response_id}?stream=true&starting_after=1"
    async with traced.http.get(path, headers=other) as response:
        assert "response.completed" in await response.text()
    follow = await traced.receiver.span(lambda span: span.name.endswith("/FollowRun") and span.kind == "SERVER")
    assert follow.sent.trace_id.hex() == "1af7651916cd43dd8448eb211c80319c"
    assert [(link.trace_id, link.span_id) for link in follow.sent.links] == [(run.sent.trace_id, run.sent.span_id)]
