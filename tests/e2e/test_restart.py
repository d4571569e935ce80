"""A system that is killed or stopped, and started again with what it had."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from breezeway.v1 import event_pb2, run_pb2

from tests.e2e.native import Native
from tests.support.model_server import Hold, ModelServer, Stream, answer, text
from tests.support.system import ReservedPort, System


@pytest.fixture
def fragile(upstream: ReservedPort, tmp_path: Path) -> Iterator[System]:
    """A system of the test's own, which it may break."""
    environ = {"OPENAI_BASE_URL": f"http://127.0.0.1:{upstream.number}/v1", "BREEZEWAY_DRAIN_SECONDS": "0.2"}
    with System.serving(tmp_path, environ=environ) as system:
        yield system


async def test_after_a_kill_the_run_ends_and_what_was_seen_stays(fragile: System, model: ModelServer) -> None:
    model.enqueue(answer("before"), Stream([*text("one ", "two "), Hold()]), answer("three"))
    seen: list[event_pb2.RunEvent] = []
    async with grpc.aio.insecure_channel(fragile.grpc_target) as channel:
        native = Native(channel)
        ended = [event async for event in native.stream("assistant", "over before")]
        run_before = await native.get(ended[0].run_id)
        async for event in native.stream("assistant", "hello"):
            seen.append(event)
            if event.text_delta.text == "two ":
                break
        fragile.kill()
    fragile.start()
    async with grpc.aio.insecure_channel(fragile.grpc_target) as channel:
        native = Native(channel)
        events = [event async for event in native.follow(seen[0].run_id)]
        run = await native.get(seen[0].run_id)
        assert await native.get(run_before.id) == run_before
        assert [event async for event in native.follow(run_before.id)] == ended
    assert events[: len(seen)] == seen
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (run.state, run.attempt) == (run_pb2.RUN_STATE_COMPLETED, 2)
    assert "".join(event.text_delta.text for event in events) == "one two three"
    assert model.requests[-1].messages[-1]["content"] == "one two ", "the model goes on from what readers have seen"
    assert len(model.requests) == 3, "what is over is not done again"


async def test_serve_starts_a_server_again_that_was_lost(fragile: System, model: ModelServer) -> None:
    model.enqueue(answer("still there"))
    fragile.kill_server()
    fragile.output.wait_for("starting it again")
    async with grpc.aio.insecure_channel(fragile.grpc_target) as channel:
        await channel.channel_ready()
        events = [event async for event in Native(channel).stream("assistant", "hello")]
    assert events[-1].HasField("run_completed")


async def test_sigterm_loses_no_stored_run(fragile: System, model: ModelServer) -> None:
    model.enqueue(Stream([*text("one "), Hold()]), answer("two"))
    async with grpc.aio.insecure_channel(fragile.grpc_target) as channel:
        run = await Native(channel).create("assistant", "hello")
        await model.arrival()
    assert fragile.terminate() == 0
    fragile.start()
    async with grpc.aio.insecure_channel(fragile.grpc_target) as channel:
        assert (await Native(channel).ended(run.id)).state == run_pb2.RUN_STATE_COMPLETED
