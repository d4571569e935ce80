"""What outlives its server: runs, streams, request ids, approvals, turns of a conversation; and what a reader costs."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from breezeway.v1 import event_pb2, item_pb2, run_pb2, run_service_pb2, stream_service_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from openai import APIError, AsyncOpenAI

from tests.e2e.lone_server import LoneServer
from tests.e2e.native import Native, text_of
from tests.e2e.sdk import user
from tests.support.agents import said
from tests.support.model_server import DONE, Hold, ModelServer, Reply, Request, Stream, call, calls, finish, text, usage
from tests.support.patience import PATIENCE
from tests.support.shim import serve_shim
from tests.support.system import ReservedPort

_CONFIG = """
[agents.tooled]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
tools = ["survival_code:count"]

[agents.careful]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
tools = [{{ path = "survival_code:count", approval = "required" }}]

[agents.frail]
kind = "python"
path = "survival_code:frail"

[agents.flood]
kind = "python"
path = "survival_code:flood"
"""

_CODE = '''
import asyncio
import pathlib

from breezeway_server.agents.steps import ReasoningDelta


async def count(name: str) -> str:
    """Count one more use of a name."""
    with (pathlib.Path(__file__).parent / name).open("a") as file:
        file.write(".")
    return "counted"


async def frail(context):
    yield "one "
    await asyncio.Event().wait()


async def flood(context):
    for _ in range(32):
        yield ReasoningDelta("And now?")
        yield "x" * 65536
'''


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("survival")
    (directory / "survival_code.py").write_text(_CODE, encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def process(upstream: ReservedPort, home: Path) -> Iterator[LoneServer]:
    base_url = f"http://127.0.0.1:{upstream.number}/v1"
    environ = {"OPENAI_BASE_URL": base_url, "BREEZEWAY_MODEL": "scripted", "BREEZEWAY_DRAIN_SECONDS": str(PATIENCE)}
    with LoneServer.serving(home, config=_CONFIG.format(upstream=base_url), environ=environ) as server:
        yield server


@pytest.fixture
def server(process: LoneServer) -> LoneServer:
    """The module's server, started again where the test before stopped it."""
    if not process.runs:
        process.start()
    return process


@pytest.fixture
async def url(server: LoneServer) -> AsyncIterator[str]:
    """A shim before the server."""
    async with serve_shim(server.target, reconnect_seconds=PATIENCE) as url:
        yield url


@pytest.fixture
async def survivor(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
async def native(server: LoneServer) -> AsyncIterator[Native]:
    options = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100))
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        yield Native(channel)


def halting(request: Request) -> Reply:
    """Half an answer, and no more until the server is lost; whoever comes with that half gets the other."""
    last = request.messages[-1]
    if last["role"] == "assistant":
        assert last["content"] == "one two ", "the model goes on from what readers have seen"
        return Stream([*text("three ", "four"), finish(), usage(8, 2), DONE])
    if last["role"] == "user" and "count" in request.last_user_text:
        return calls(call("count", {"name": request.last_user_text.split()[-1]}, call_id="call_1"))
    return Stream([*text("one ", "two "), Hold()])


@pytest.fixture
async def model(upstream: ReservedPort) -> AsyncIterator[ModelServer]:
    server = ModelServer(default=halting)
    await server.start(port=upstream.number)
    yield server
    await server.close()


async def _until(events: AsyncIterator[event_pb2.RunEvent], words: str) -> list[event_pb2.RunEvent]:
    """The events up to the one that says these words, or is of that kind."""
    seen = []
    async for event in events:
        seen.append(event)
        if words in {event.text_delta.text, event.WhichOneof("kind")}:
            return seen
    raise AssertionError(f"the run ended without {words!r}")


async def _back(native: Native) -> None:
    """Return once the channel has found the server again."""
    await native.runs.ListRuns(run_service_pb2.ListRunsRequest(), wait_for_ready=True)


async def test_openai_pythons_chat_stream_does_not_notice_a_restart(
    server: LoneServer, survivor: AsyncOpenAI, model: ModelServer
) -> None:
    said: list[str] = []
    finishes = []
    stream = await survivor.chat.completions.create(model="assistant", messages=user("hi"), store=True, stream=True)
    async for chunk in stream:
        said.append(chunk.choices[0].delta.content or "")
        finishes.append(chunk.choices[0].finish_reason)
        if said[-1] == "two ":
            await asyncio.to_thread(server.restart)
    assert "".join(said) == "one two three four"
    assert [finish for finish in finishes if finish] == ["stop"]


@pytest.mark.parametrize("begins", [True, False], ids=["begun", "followed"])
async def test_a_native_stream_over_http_does_not_notice_a_restart(
    server: LoneServer, native: Native, url: str, model: ModelServer, begins: bool
) -> None:
    body = {
        "spec": {"agent": "assistant"},
        "input": [{"message": {"role": "ROLE_USER", "content": [{"text": {"text": "hi"}}]}}],
    }
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(PATIENCE)) as http:
        if begins:
            asked = http.post("/api/runs:stream", json=body)
        else:
            async with http.post("/api/runs", json=body) as created:
                run_id = (await created.json())["run"]["id"]
            asked = http.get(f"/api/runs/{run_id}/events")
        seen: list[dict[str, Any]] = []
        async with asked as answer:
            async for line in answer.content:
                if not line.startswith(b"data: "):
                    continue
                seen += json.loads(line.removeprefix(b"data: "))["events"]
                if seen[-1].get("textDelta", {}).get("text") == "two ":
                    await asyncio.to_thread(server.restart)
    assert [int(event["sequence"]) for event in seen] == list(range(1, len(seen) + 1))
    assert "".join(event["textDelta"]["text"] for event in seen if "textDelta" in event) == "one two three four"
    assert seen[-1]["runCompleted"]["usage"]
    assert {event["attempt"] for event in seen} == {1, 2}


async def test_openai_pythons_response_stream_does_not_notice_a_restart(
    server: LoneServer, survivor: AsyncOpenAI, model: ModelServer
) -> None:
    numbers, deltas = [], []
    async with survivor.responses.stream(model="assistant", input="hi") as stream:
        async for event in stream:
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)
                if event.delta == "two ":
                    await asyncio.to_thread(server.restart)
        response = await stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    assert "".join(deltas) == response.output_text == "one two three four"
    assert [item.status for item in response.output if item.type == "message"] == ["incomplete", "completed"]
    stored = await survivor.responses.retrieve(response.id)
    assert stored.output_text == response.output_text


async def test_a_reader_over_grpc_goes_on_behind_the_last_event_it_has(
    server: LoneServer, native: Native, model: ModelServer
) -> None:
    seen = await _until(native.stream("assistant", "hi"), "two ")
    await asyncio.to_thread(server.restart)
    await _back(native)
    rest = [event async for event in native.follow(seen[0].run_id, after=seen[-1].sequence)]
    assert [event.sequence for event in seen + rest] == list(range(1, len(seen + rest) + 1))
    assert text_of(seen + rest) == "one two three four"
    assert {event.attempt for event in rest} == {2}
    assert [event async for event in native.follow(seen[0].run_id)] == seen + rest


async def test_a_finished_tool_call_is_not_run_again(
    server: LoneServer, native: Native, model: ModelServer, home: Path
) -> None:
    seen = await _until(native.stream("tooled", "count finished"), "two ")
    await asyncio.to_thread(server.restart)
    await _back(native)
    run = await native.ended(seen[0].run_id)
    assert (run.state, run.attempt) == (run_pb2.RUN_STATE_COMPLETED, 2)
    assert (home / "finished").read_text() == "."
    assert [message["role"] for message in model.requests[-1].messages] == ["user", "assistant", "tool", "assistant"]


async def test_the_demo_says_after_a_kill_what_it_would_have_said(server: LoneServer, native: Native) -> None:
    undisturbed = [event async for event in native.stream("demo", "Write 30 words and tell me what 6 * 7 is")]
    seen = await _until(native.stream("demo", "Write 30 words and tell me what 6 * 7 is"), "text_delta")
    await asyncio.to_thread(server.restart)
    await _back(native)
    resumed = [event async for event in native.follow(seen[0].run_id)]
    assert resumed[: len(seen)] == seen
    assert text_of(resumed) == text_of(undisturbed)
    assert resumed[-1].HasField("run_completed")


async def test_a_run_that_cannot_go_on_fails_and_says_so(
    server: LoneServer, survivor: AsyncOpenAI, native: Native
) -> None:
    stream = await survivor.chat.completions.create(model="frail", messages=user("hi"), store=True, stream=True)
    run_id = (await anext(stream)).id
    await asyncio.to_thread(server.restart)
    with pytest.raises(APIError) as raised:
        async for _ in stream:
            pass
    assert raised.value.code == "server_restarted"
    await _back(native)
    run = await native.get(run_id)
    assert (run.state, run.error.reason) == (run_pb2.RUN_STATE_FAILED, "SERVER_RESTARTED")
    assert [item.status for item in run.output] == [item_pb2.ITEM_STATUS_INCOMPLETE]


async def test_a_request_id_names_the_same_run_after_a_kill(
    server: LoneServer, url: str, native: Native, model: ModelServer
) -> None:
    headers = {"Idempotency-Key": "survives"}
    body = {"model": "demo", "input": "What is 6 * 7?"}
    async with aiohttp.ClientSession(f"{url}/v1/") as http:
        async with http.post("responses", json=body, headers=headers) as response:
            first = await response.read()
        await asyncio.to_thread(server.restart)
        await _back(native)
        async with http.post("responses", json=body, headers=headers) as response:
            assert await response.read() == first
        async with http.post("responses", json={**body, "input": "another"}, headers=headers) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (422, "idempotency_key_reused")


async def test_what_a_request_id_put_into_a_conversation_is_there_once_after_a_kill(
    server: LoneServer, url: str, native: Native
) -> None:
    body = {"items": [{"role": "user", "content": "hello"}]}
    async with aiohttp.ClientSession(f"{url}/v1/") as http:

        async def post(path: str, key: str, sent: object) -> tuple[int, Any]:
            async with http.post(path, json=sent, headers={"Idempotency-Key": key}) as response:
                return response.status, await response.json()

        made = await post("conversations", "talk", body)
        items = f"conversations/{made[1]['id']}/items"
        added = await post(items, "items", body)
        await asyncio.to_thread(server.restart)
        await _back(native)
        assert await post("conversations", "talk", body) == made
        assert await post(items, "items", body) == added
        status, refusal = await post(items, "items", {"items": [{"role": "user", "content": "other"}]})
        assert (status, refusal["error"]["code"]) == (422, "idempotency_key_reused")
        async with http.get(items) as response:
            assert len((await response.json())["data"]) == 2


async def test_an_approval_is_waited_for_over_a_restart_and_decided_once(
    server: LoneServer, native: Native, model: ModelServer, home: Path
) -> None:
    seen = await _until(native.stream("careful", "count approved"), "approval_requested")
    run_id = seen[0].run_id
    await asyncio.to_thread(server.restart)
    await _back(native)
    waiting = await native.get(run_id)
    assert waiting.state == run_pb2.RUN_STATE_REQUIRES_ACTION
    assert not (home / "approved").exists()
    decide = run_service_pb2.ResolveApprovalRequest(run_id=run_id, decision=item_pb2.APPROVAL_DECISION_ONCE)
    await native.runs.ResolveApproval(decide)
    await _until(native.follow(run_id, after=waiting.last_sequence), "two ")
    assert (home / "approved").read_text() == "."
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await native.runs.ResolveApproval(decide)
    assert raised.value.code() in {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND}
    await native.cancel(run_id)


async def test_a_drain_refuses_new_runs_gives_time_to_running_ones_and_loses_none(
    server: LoneServer, url: str, native: Native, model: ModelServer
) -> None:
    gate = asyncio.Event()
    model.enqueue(Stream([*text("in "), Hold(gate), *text("time"), finish(), usage(3, 2), DONE]))
    running = native.stream("assistant", "hi")
    seen = await _until(running, "in ")
    server.signal(signal.SIGTERM)
    await asyncio.to_thread(server.output.wait_for, "draining")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await native.create("demo", "hi")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
    body = {"model": "demo", "messages": user("hi")}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=body) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1
    gate.set()
    seen += [event async for event in running]
    assert text_of(seen) == "in time"
    assert seen[-1].HasField("run_completed")
    assert {event.attempt for event in seen} == {1}
    assert await asyncio.to_thread(server.wait) == 0


async def test_a_second_sigterm_ends_the_drain_and_the_run_goes_on_later(
    server: LoneServer, native: Native, model: ModelServer
) -> None:
    seen = await _until(native.stream("assistant", "hi"), "two ")
    server.signal(signal.SIGTERM)
    await asyncio.to_thread(server.output.wait_for, "draining")
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 1
    await asyncio.to_thread(server.start)
    await _back(native)
    events = [event async for event in native.follow(seen[0].run_id)]
    assert events[: len(seen)] == seen
    assert text_of(events) == "one two three four"


async def test_racing_writers_of_a_conversation_take_turns(native: Native, server: LoneServer) -> None:
    def request(
        index: int, policy: run_pb2.BusyPolicy.ValueType, agent: str = "demo"
    ) -> run_service_pb2.CreateRunRequest:
        spec = run_pb2.RunSpec(agent=agent, conversation_id="race", busy_policy=policy)
        return run_service_pb2.CreateRunRequest(spec=spec, input=[said(f"What is {index} * 1000?")])

    # It comes to no end by itself, so that all of them have to wait.
    first = (await native.runs.CreateRun(request(0, run_pb2.BUSY_POLICY_REJECT, "frail"))).run
    queued = [native.runs.CreateRun(request(index, run_pb2.BUSY_POLICY_QUEUE)) for index in range(1, 9)]
    runs = await asyncio.gather(*queued)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await native.runs.CreateRun(request(9, run_pb2.BUSY_POLICY_REJECT))
    assert refused.value.code() is grpc.StatusCode.ABORTED
    await native.cancel(first.id)
    ended = sorted([await native.ended(reply.run.id) for reply in runs], key=lambda run: run.id)
    for before, after in pairwise(ended):
        assert before.end_time.ToNanoseconds() <= after.start_time.ToNanoseconds(), "one begins when the other is over"
    for run in ended:
        asked = re.findall(r"\d+", run.input[0].message.content[0].text.text)[0]
        answer = "".join(part.text.text for item in run.output for part in item.message.content).replace(",", "")
        assert f"{asked}000" in answer, "nobody gets another's answer"


async def test_readers_that_stall_cost_a_constant(server: LoneServer, native: Native) -> None:
    """Two hundred readers who take nothing of a run of 2 MiB: copies for each of them would be 400 MB."""
    whole = [event async for event in native.stream("flood", "hi")]
    assert len(text_of(whole)) == 2 * 1024 * 1024
    before = _resident_bytes(server.pid)
    follow = stream_service_pb2.FollowRunRequest(run_id=whole[0].run_id)
    # A small window and nobody who reads: the server has to hold on to what it wants to say.
    options = (
        ("grpc.http2.lookahead_bytes", 65_536),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        stalled = [Native(channel).streams.FollowRun(follow) for _ in range(200)]
        for reader in stalled:
            first = await anext(aiter(reader))
            assert first.events[0].sequence == 1
        # One that reads is served beside them, to the end.
        assert [event async for event in native.follow(whole[0].run_id)] == whole
        # Two copies of a batch of 16 KiB each, and what a call costs.
        assert _resident_bytes(server.pid) - before < 60 * 1024 * 1024
        for reader in stalled:
            reader.cancel()


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index] # Linux always says it
