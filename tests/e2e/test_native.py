"""gRPC beside HTTP: the same runs, the same events, and what meshes and tools expect of a server."""

import asyncio

import aiohttp
import grpc
import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from openai import AsyncOpenAI

from tests.e2e.native import Native
from tests.e2e.native import text_of as run_text
from tests.e2e.sdk import text_of, user
from tests.support.model_server import Hold, ModelServer, Stream, answer, error, finish, text, usage
from tests.support.system import System


@pytest.mark.parametrize("prefix", ["run_", "resp_", "chatcmpl-"])
async def test_a_run_that_an_sdk_streams_can_be_followed_by_any_of_its_names(
    client: AsyncOpenAI, native: Native, model: ModelServer, prefix: str
) -> None:
    gate = asyncio.Event()
    model.enqueue(Stream([*text("one "), Hold(gate), *text("two"), finish(), usage(3, 2)]))
    stream = await client.chat.completions.create(model="assistant", messages=user("hello"), stream=True)
    first = await anext(stream)
    run_id = f"{prefix}{first.id.removeprefix('chatcmpl-')}"
    following = asyncio.create_task(_collect(native, run_id))
    gate.set()
    chunks = [first, *[chunk async for chunk in stream]]
    events = await following
    assert run_text(events) == text_of(chunks) == "one two"
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].HasField("run_completed")
    assert (await native.get(run_id)).usage.output_tokens == 2


async def test_many_follow_one_run_and_see_the_same(native: Native, model: ModelServer) -> None:
    gate = asyncio.Event()
    model.enqueue(Stream([*text("one "), Hold(gate), *text("two"), finish(), usage(3, 2)]))
    run = await native.create("assistant", "hello")
    followers = [asyncio.create_task(_collect(native, run.id)) for _ in range(5)]
    await model.arrival()
    gate.set()
    seen = await asyncio.gather(*followers)
    assert all(events == seen[0] for events in seen)
    # Who comes late, or comes again with what they have, gets exactly the rest.
    for after in range(len(seen[0]) + 1):
        assert [event async for event in native.follow(run.id, after=after)] == seen[0][after:]


async def test_a_stored_chat_is_a_run_like_any_other(
    http: aiohttp.ClientSession, native: Native, model: ModelServer
) -> None:
    model.enqueue(answer("kept"))
    body = {"model": "assistant", "store": True, "metadata": {"a": "b"}, "messages": user("hello")}
    async with http.post("/v1/chat/completions", json=body) as response:
        run_id = response.headers["X-Run-Id"]
    run = await native.get(run_id)
    assert (run.state, run.spec.durability) == (run_pb2.RUN_STATE_COMPLETED, run_pb2.DURABILITY_LOGGED)
    assert dict(run.spec.metadata) == {"a": "b"}
    assert run.input[0].message.content[0].text.text == "hello"
    assert run.output[0].message.content[0].text.text == "kept"


async def test_a_run_goes_on_from_another(native: Native, model: ModelServer) -> None:
    model.enqueue(answer("first"), answer("second"))
    first = [event async for event in native.stream("assistant", "one")]
    spec = run_pb2.RunSpec(previous_run_id=first[0].run_id)
    assert run_text([event async for event in native.stream("assistant", "two", spec=spec)]) == "second"
    assert [message["content"] for message in model.requests[1].messages] == ["one", "first", "two"]


async def test_reflection_lists_and_describes_the_services(system: System) -> None:
    def services() -> set[str]:
        with grpc.insecure_channel(system.grpc_target) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            run_service = DescriptorPool(database).FindServiceByName("breezeway.v1.RunService")
            assert "CancelRun" in run_service.methods_by_name
            return set(database.get_services())

    listed = await asyncio.to_thread(services)
    assert {
        "breezeway.v1.RunService",
        "breezeway.v1.StreamService",
        "breezeway.v1.StoreService",
        "breezeway.v1.AgentRegistryService",
        "grpc.health.v1.Health",
        "grpc.channelz.v1.Channelz",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= listed


@pytest.mark.parametrize("service", ["", "breezeway.v1.RunService", "breezeway.v1.StreamService"])
async def test_health_says_that_it_serves(native: Native, service: str) -> None:
    check = native.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    reply = await check(health_pb2.HealthCheckRequest(service=service))
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_agents_are_listed_with_what_they_take(native: Native) -> None:
    agents = {agent.name: agent for agent in (await native.agents.ListAgents(ListAgentsRequest())).agents}
    assert agents["demo"].kind == "demo"
    assert agents["assistant"].capabilities.client_tools
    assert not agents["tooled"].capabilities.multiple_choices


async def test_a_refused_call_says_why(native: Native) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await native.create("nobody", "hello")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "AGENT_NOT_FOUND"


async def test_a_failed_run_is_followed_to_its_end_without_a_failing_call(native: Native, model: ModelServer) -> None:
    model.enqueue(error(400, "no", type="invalid_request_error"))
    run = await native.create("once", "hello")
    events = await _collect(native, run.id)
    assert events[-1].run_failed.error.reason == "UPSTREAM_REJECTED"
    assert (await native.get(run.id)).state == run_pb2.RUN_STATE_FAILED


async def _collect(native: Native, run_id: str) -> list[event_pb2.RunEvent]:
    return [event async for event in native.follow(run_id)]
