"""The runs dialect through the whole system: started by one request, watched and steered by others."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import aiohttp
import msgspec
from openai import AsyncOpenAI

from tests.support.model_server import Hold, ModelServer, Stream, answer, finish, text, usage

Http = aiohttp.ClientSession
Event = tuple[int, dict[str, Any]]


async def start(http: Http, headers: Mapping[str, str] | None = None, **body: Any) -> str:
    async with http.post("/v1/runs", json=body, headers=headers) as response:
        assert response.status == 202, await response.text()
        started = await response.json()
    assert started["status"] == "started"
    return str(started["run_id"])


async def events(http: Http, run_id: str, *, after: int = 0) -> AsyncGenerator[Event, None]:
    """The id and the data of each event, as they come."""
    async with http.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": str(after)}) as response:
        assert response.status == 200
        number = 0
        async for line in response.content:
            if line.startswith(b"id: "):
                number = int(line.removeprefix(b"id: "))
            elif line.startswith(b"data: "):
                yield number, msgspec.json.decode(line.removeprefix(b"data: "))


async def all_events(http: Http, run_id: str, *, after: int = 0) -> list[Event]:
    return [event async for event in events(http, run_id, after=after)]


async def status(http: Http, run_id: str) -> dict[str, Any]:
    async with http.get(f"/v1/runs/{run_id}") as response:
        told: dict[str, Any] = await response.json()
    return told


async def test_a_run_is_watched_live_and_again_from_every_event(http: Http, model: ModelServer) -> None:
    gate = asyncio.Event()
    model.enqueue(Stream([*text("one "), Hold(gate), *text("two"), finish(), usage(3, 2)]))
    run_id = await start(http, input="hello")
    seen: list[Event] = []
    async for event in events(http, run_id):
        seen.append(event)
        if event[1]["event"] == "message.delta" and not gate.is_set():
            assert (await status(http, run_id))["status"] == "running"
            gate.set()
    assert [data["delta"] for _, data in seen if data["event"] == "message.delta"] == ["one ", "two"]
    assert (seen[-1][1]["event"], seen[-1][1]["output"]) == ("run.completed", "one two")
    assert seen[-1][1]["usage"]["total_tokens"] == 5
    for number, _ in seen:
        assert await all_events(http, run_id, after=number) == [event for event in seen if event[0] > number]
    told = await status(http, run_id.replace("run_", "resp_"))
    assert (told["run_id"], told["status"], told["output"]) == (run_id, "completed", "one two")
    # Where there are several agents and none is named, `assistant` runs.
    assert told["model"] == "assistant"


async def test_a_run_is_stopped(http: Http, model: ModelServer) -> None:
    model.enqueue(Stream([*text("one "), Hold(asyncio.Event())]))
    run_id = await start(http, input="hello", model="assistant")
    seen = []
    async for _, data in events(http, run_id):
        seen.append(data["event"])
        if data["event"] == "message.delta":
            async with http.post(f"/v1/runs/{run_id}/stop") as response:
                assert await response.json() == {"run_id": run_id, "status": "cancelled"}
    assert seen[-1] == "run.cancelled"
    assert (await status(http, run_id))["status"] == "cancelled"


async def test_tools_are_shown_and_wait_for_leave(http: Http) -> None:
    run_id = await start(http, input="approve: Greetings!", model="demo")
    seen = []
    async for _, data in events(http, run_id):
        seen.append(data)
        if data["event"] == "approval.request":
            assert (await status(http, run_id))["status"] == "waiting_for_approval"
            async with http.post(f"/v1/runs/{run_id}/approval", json={"choice": "once"}) as response:
                assert (await response.json())["choice"] == "once"
            async with http.post(f"/v1/runs/{run_id}/approval", json={"choice": "deny"}) as response:
                assert response.status in {404, 409}
    names = [data["event"] for data in seen]
    order = ["tool.started", "approval.request", "approval.responded", "tool.completed", "run.completed"]
    assert [name for name in names if name in order] == order
    completed = seen[names.index("tool.completed")]
    assert (completed["tool"], completed["error"]) == ("postcard", False)
    assert completed["duration"] > 0


async def test_a_key_names_one_run(http: Http, model: ModelServer) -> None:
    model.enqueue(answer("once"))
    headers = {"Idempotency-Key": "runs-once"}
    first = await start(http, headers, input="hello", model="assistant")
    assert await start(http, headers, input="hello", model="assistant") == first
    async with http.post("/v1/runs", json={"input": "other", "model": "assistant"}, headers=headers) as response:
        assert response.status == 422
    assert (await all_events(http, first))[-1][1]["output"] == "once"
    assert len(model.requests) == 1


async def test_a_session_remembers_and_a_response_goes_on(http: Http, client: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(answer("first"), answer("second"), answer("third"))
    one = await start(http, input="one", model="assistant", session_id="a-session-of-runs")
    await all_events(http, one)
    two = await start(http, input="two", model="assistant", session_id="a-session-of-runs")
    await all_events(http, two)
    assert [message["content"] for message in model.requests[1].messages] == ["one", "first", "two"]
    previous = one.replace("run_", "resp_")
    response = await client.responses.create(model="assistant", input="three", previous_response_id=previous)
    assert response.output_text == "third"


async def test_a_failure_is_told_by_stream_and_status(http: Http) -> None:
    run_id = await start(http, input="hello", model="unreachable")
    last = (await all_events(http, run_id))[-1][1]
    assert (last["event"], last["error_reason"]) == ("run.failed", "UPSTREAM_UNAVAILABLE")
    told = await status(http, run_id)
    assert (told["status"], told["error"]) == ("failed", last["error"])
