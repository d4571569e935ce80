"""The operator's key stays the operator's, however a model's provider comes to say it; and we fetch nothing."""

import asyncio
import json

import aiohttp
import pytest

from tests.e2e.conftest import KEY
from tests.e2e.sdk import Sdk, user
from tests.support.model_server import ModelServer, answer, call, calls, error, reasoning, text
from tests.support.system import System

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("size", [1, 3, 5, 7, 100])
async def test_a_key_that_a_model_says_is_hidden_wherever_it_is_cut(
    http: aiohttp.ClientSession, model: ModelServer, system: System, size: int
) -> None:
    said = f"My key is {KEY}; yours is sk-ours."
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    for stream in (False, True):
        model.enqueue(answer(*pieces))
        body = {"model": "assistant", "messages": user("Which key?"), "stream": stream}
        async with http.post(CHAT, json=body) as response:
            came = await response.text()
        assert KEY not in came
        if stream:
            chunks = [json.loads(line[6:]) for line in came.splitlines() if line.startswith("data: {")]
            whole = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
        else:
            whole = json.loads(came)["choices"][0]["message"]["content"]
        assert whole == "My key is sk-[redacted]; yours is sk-ours."
    assert KEY not in system.output.text


async def test_a_key_in_a_thought_a_call_and_an_error_is_hidden(
    http: aiohttp.ClientSession, model: ModelServer, system: System
) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    thinking = [*reasoning(KEY[:9], KEY[9:]), *text("so "), *text(KEY[:12]), *text(KEY[12:])]
    model.enqueue(calls(call("f", {"key": KEY}, call_id=KEY, pieces=5), before=thinking))
    body = {"model": "assistant", "input": "Which key?", "tools": [{"type": "function", "name": "f", "parameters": {}}]}
    async with http.post("/v1/responses", json=body) as response:
        assert KEY not in await response.text()
        assert response.status == 200
    for refusal in (error(400, f"Bad key {KEY}"), error(500, f"Bad key {KEY}", code=KEY), error(429, KEY)):
        model.enqueue(refusal)
        async with http.post(CHAT, json={"model": "once", "messages": user("a"), "tools": [tool]}) as response:
            assert response.status >= 400
            assert KEY not in await response.text()
    assert KEY not in system.output.text


async def test_a_callers_key_is_in_no_log(http: aiohttp.ClientSession, model: ModelServer, system: System) -> None:
    key = "bz_0123456789abcdefghijklmnopqrstuvwxyz"
    headers = {"Authorization": f"Bearer {key}", "X-API-Key": key}
    for path in (CHAT, f"/v1/nothing?api_key={key}", "/api/runs"):
        async with http.post(path, json={"model": "assistant", "messages": user("a")}, headers=headers) as response:
            await response.read()
    assert key not in system.output.text


async def test_pictures_are_passed_on_and_never_fetched(sdk: Sdk, model: ModelServer) -> None:
    visitors = 0

    async def visited(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visitors
        visitors += 1
        writer.close()

    async with await asyncio.start_server(visited, "127.0.0.1", 0) as lure:
        url = f"http://127.0.0.1:{lure.sockets[0].getsockname()[1]}/secret.png"
        content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
        await sdk.complete(model="assistant", messages=[{"role": "user", "content": content}])
    assert model.requests[0].messages[0]["content"][1]["image_url"]["url"] == url
    assert visitors == 0
