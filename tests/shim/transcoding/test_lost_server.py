"""Native streams over HTTP whose server is lost in the middle: the reader does not notice."""

import asyncio
import json
from typing import Any

import aiohttp
import grpc
import pytest
from breezeway.v1 import event_pb2

from tests.support.clock import HeldClock
from tests.support.fake_server import FakeServer, Lost, refusal
from tests.support.logs import read_log
from tests.support.shim import serve_shim

CREATE = {"spec": {"agent": "demo"}}
DRAINING = refusal(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "The server stops.", retry_after=1)


def ids(frames: str) -> list[int]:
    return [int(line.removeprefix("id: ")) for line in frames.split("\n") if line.startswith("id: ")]


def last_data(frames: str) -> Any:
    return json.loads(frames.strip().rpartition("\ndata: ")[2])


def sequences(events: list[event_pb2.RunEvent]) -> list[int]:
    return [event.sequence for event in events]


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/runs:stream"), ("GET", "/api/runs/run_1/events")])
async def test_a_stream_goes_on_over_losses_without_a_gap(
    http: aiohttp.ClientSession, server: FakeServer, method: str, path: str
) -> None:
    events = list(read_log("server_tools"))
    for event in events[:3]:
        server.steps += [[event], Lost(DRAINING)]
    server.steps += [[event] for event in events[3:]]
    async with http.request(method, path, json=CREATE if method == "POST" else None) as answer:
        assert answer.status == 200
        assert ids(await answer.text()) == sequences(events)
    assert [call.method for call in server.calls[1:]] == ["FollowRun"] * 3
    assert [call.request.after_sequence for call in server.calls[1:]] == [1, 2, 3]


async def test_a_stream_goes_on_when_a_server_that_was_killed_is_back(server: FakeServer) -> None:
    events = list(read_log("text"))
    server.steps = [events[:5], asyncio.Event()]
    async with (
        serve_shim(server.target, keepalive_seconds=0.01) as url,
        aiohttp.ClientSession(url) as http,
        http.get("/api/runs/run_1/events", headers={"Last-Event-ID": "2"}) as answer,
    ):
        begun = (await answer.content.readuntil(b"\n\n")).decode()
        await server.stop()
        assert await answer.content.readuntil(b"\n") == b": keep-alive\n"
        server.steps = [[event] for event in events]
        await server.start()
        rest = await answer.text()
    assert ids(begun) + ids(rest) == [5, *sequences(events[5:])]
    assert [event["sequence"] for event in last_data(begun)["events"]] == ["3", "4", "5"]


async def test_a_server_that_does_not_come_back_ends_the_stream_with_its_status(server: FakeServer) -> None:
    server.steps = [list(read_log("text"))[:5], DRAINING]
    async with serve_shim(server.target, reconnect_seconds=0) as url, aiohttp.ClientSession(url) as http:
        async with http.get("/api/runs/run_1/events") as answer:
            told = await answer.text()
        assert "event: error\n" in told
        assert last_data(told)["details"][0]["reason"] == "SERVER_DRAINING"
        server.steps = [DRAINING]
        async with http.get("/api/runs/run_1/events") as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "1"


async def test_half_a_stream_does_not_pass_for_a_whole_one(http: aiohttp.ClientSession, server: FakeServer) -> None:
    server.steps = [list(read_log("text"))[:5]]
    async with http.get("/api/runs/run_1/events") as answer:
        told = await answer.text()
    assert last_data(told)["code"] == grpc.StatusCode.UNAVAILABLE.value[0]


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/runs:stream"), ("GET", "/api/runs/run_1/events")])
async def test_a_deadline_is_for_the_whole_stream(
    http: aiohttp.ClientSession, server: FakeServer, method: str, path: str
) -> None:
    over = asyncio.Event()
    server.steps = [list(read_log("text"))[:5], over, Lost(DRAINING), asyncio.Event()]
    body = CREATE if method == "POST" else None
    forever = aiohttp.ClientTimeout(total=None)
    with HeldClock.held() as clock:
        async with http.request(method, path, json=body, headers={"Grpc-Timeout": "1H"}, timeout=forever) as answer:
            assert answer.status == 200
            told = (await answer.content.readuntil(b"\n\n")).decode()
            clock.move(3600)
            over.set()
            rest = asyncio.create_task(answer.text())
            await clock.move_until(rest, 0.1)
            told += await rest
    assert last_data(told)["code"] == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert ids(told) == [5]
