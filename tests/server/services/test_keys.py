"""Who may call: keys, their scopes and agents, and what becomes of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway.v1 import (
    agent_registry_service_pb2,
    key_pb2,
    key_service_pb2,
    key_service_pb2_grpc,
    run_service_pb2,
    stream_service_pb2,
)
from breezeway_server.services.access import scopes_for
from breezeway_server.services.caller import ALL_SCOPES
from breezeway_server.services.keyring import KeyRing
from google.protobuf.duration_pb2 import Duration
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.agents import said
from tests.support.server import PlainAgent, run_spec, running, serving

ROOT_KEY = "the-operators-own-key"
SECOND_KEY = "the-key-after-the-next-rotation"
Metadata = tuple[tuple[str, str], ...]
ListRuns = run_service_pb2.ListRunsRequest
READ, RUN, ADMIN = key_pb2.KEY_SCOPE_READ, key_pb2.KEY_SCOPE_RUN, key_pb2.KEY_SCOPE_ADMIN


class Clock:
    """Nanoseconds since 1970, as a test has them."""

    def __init__(self) -> None:
        self.now = 10**18

    def __call__(self) -> int:
        return self.now


class Guarded:
    """A server with keys: `root` is the operator's metadata."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self.client = Client.of(channel)
        self.keys: Any = key_service_pb2_grpc.KeyServiceStub(channel)
        self.clock = clock
        self.root = bearer(ROOT_KEY)

    async def create(self, **fields: object) -> tuple[key_pb2.Key, Metadata]:
        """A new key, and the metadata of its holder."""
        request = key_service_pb2.CreateKeyRequest(**fields)  # type: ignore[arg-type] # the fields, by name
        reply = await self.keys.CreateKey(request, metadata=self.root)
        return reply.key, bearer(reply.secret)

    async def why_refused(self, metadata: Metadata) -> str:
        return (await refused(self.client.runs.ListRuns(ListRuns(), metadata=metadata))).reason


def bearer(secret: str) -> Metadata:
    return (("authorization", f"Bearer {secret}"),)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    clock = Clock()
    async with running(tmp_path, PlainAgent("one"), PlainAgent("two")) as stack:
        ring = KeyRing([], [ROOT_KEY, SECOND_KEY], clock=clock)
        async with serving(stack, ring) as channel:
            yield Guarded(channel, clock)


async def test_a_call_without_a_key_is_refused(guarded: Guarded) -> None:
    refusal = await refused(guarded.client.runs.ListRuns(ListRuns()))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "KEY_MISSING")
    stream = guarded.client.streams.FollowRun(stream_service_pb2.FollowRunRequest(run_id="nonsense"))
    assert (await refused(stream.read())).reason == "KEY_MISSING"


@pytest.mark.parametrize("secret", ["", "x", "bz_" + "0" * 32 + "_" + "a" * 43, ROOT_KEY[:-1], ROOT_KEY + "x"])
async def test_what_is_no_key_is_refused(guarded: Guarded, secret: str) -> None:
    assert await guarded.why_refused((("x-api-key", secret),)) == "KEY_UNKNOWN"


@pytest.mark.parametrize(
    "metadata",
    [
        bearer(ROOT_KEY),
        bearer(SECOND_KEY),
        (("authorization", f"bearer {ROOT_KEY}"),),
        (("x-api-key", ROOT_KEY),),
        (("x-session-api-key", ROOT_KEY),),
        (("authorization", "Bearer somebody-elses"), ("x-api-key", ROOT_KEY)),
    ],
)
async def test_a_key_can_be_shown_in_several_ways(guarded: Guarded, metadata: Metadata) -> None:
    await guarded.client.runs.ListRuns(ListRuns(), metadata=metadata)


async def test_a_created_key_works_and_its_secret_is_not_kept(guarded: Guarded, tmp_path: Path) -> None:
    key, holder = await guarded.create(name="ci", tenant="acme", scopes=[READ])
    await guarded.client.runs.ListRuns(ListRuns(), metadata=holder)
    assert key.id.startswith("key_")
    secret = holder[0][1].removeprefix("Bearer ").rpartition("_")[2].encode()
    kept = await asyncio.to_thread(lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir()))
    assert key.id.encode() in kept
    assert secret not in kept
    listed = (await guarded.keys.ListKeys(key_service_pb2.ListKeysRequest(), metadata=guarded.root)).keys
    assert list(listed) == [key]


async def test_a_revoked_key_is_refused_and_stays_so(guarded: Guarded) -> None:
    key, holder = await guarded.create()
    request = key_service_pb2.RevokeKeyRequest(key_id=key.id)
    first = (await guarded.keys.RevokeKey(request, metadata=guarded.root)).key
    guarded.clock.now += 10**9
    assert (await guarded.keys.RevokeKey(request, metadata=guarded.root)).key == first
    assert await guarded.why_refused(holder) == "KEY_REVOKED"
    rotation = guarded.keys.RotateKey(key_service_pb2.RotateKeyRequest(key_id=key.id), metadata=guarded.root)
    assert (await refused(rotation)).reason == "KEY_NOT_VALID"


async def test_a_key_expires(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, PlainAgent("one")) as stack:
        ring = KeyRing([], [ROOT_KEY], clock=clock)
        async with serving(stack, ring) as channel:
            guarded = Guarded(channel, clock)
            key, holder = await guarded.create(time_to_live=Duration(seconds=60))
            clock.now = key.expire_time.ToNanoseconds() - 1
            await guarded.client.runs.ListRuns(ListRuns(), metadata=holder)
            clock.now += 1
            assert await guarded.why_refused(holder) == "KEY_EXPIRED"


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_for_a_while(guarded: Guarded) -> None:
    key, old = await guarded.create()
    request = key_service_pb2.RotateKeyRequest(key_id=key.id, grace=Duration(seconds=3600))
    reply = await guarded.keys.RotateKey(request, metadata=guarded.root)
    assert reply.key == key
    await guarded.client.runs.ListRuns(ListRuns(), metadata=bearer(reply.secret))
    await guarded.client.runs.ListRuns(ListRuns(), metadata=old)
    again = await guarded.keys.RotateKey(key_service_pb2.RotateKeyRequest(key_id=key.id), metadata=guarded.root)
    assert await guarded.why_refused(old) == "KEY_UNKNOWN"
    assert await guarded.why_refused(bearer(reply.secret)) == "KEY_UNKNOWN"
    await guarded.client.runs.ListRuns(ListRuns(), metadata=bearer(again.secret))


async def test_keys_survive_a_restart_and_still_keep_strangers_out(tmp_path: Path) -> None:
    async with running(tmp_path, PlainAgent("one")) as stack, serving(stack) as channel:
        keys: Any = key_service_pb2_grpc.KeyServiceStub(channel)
        made = await keys.CreateKey(key_service_pb2.CreateKeyRequest(scopes=[READ]))
        # From the first key on, on the server that it was made at too.
        assert (await refused(keys.ListKeys(key_service_pb2.ListKeysRequest()))).reason == "KEY_MISSING"
    async with running(tmp_path, PlainAgent("one")) as stack:
        ring = KeyRing(await stack.store.list_keys())
        async with serving(stack, ring) as channel:
            client = Client.of(channel)
            await client.runs.ListRuns(ListRuns(), metadata=bearer(made.secret))
            assert (await refused(client.runs.ListRuns(ListRuns()))).reason == "KEY_MISSING"


async def test_a_key_does_what_its_scopes_say(guarded: Guarded) -> None:
    create = run_service_pb2.CreateRunRequest(spec=run_spec(agent="one"), input=[said("x")])
    _, reader = await guarded.create(scopes=[READ])
    _, runner = await guarded.create(scopes=[RUN])
    _, admin = await guarded.create(scopes=[ADMIN])
    runs, keys = guarded.client.runs, guarded.keys
    assert (await refused(runs.CreateRun(create, metadata=reader))).reason == "SCOPE_MISSING"
    await runs.CreateRun(create, metadata=runner)
    await runs.ListRuns(ListRuns(), metadata=runner)
    assert (await refused(runs.CreateRun(create, metadata=admin))).reason == "SCOPE_MISSING"
    assert (await refused(runs.ListRuns(ListRuns(), metadata=admin))).reason == "SCOPE_MISSING"
    await keys.ListKeys(key_service_pb2.ListKeysRequest(), metadata=admin)
    refusal = await refused(keys.ListKeys(key_service_pb2.ListKeysRequest(), metadata=runner))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")


async def test_a_key_runs_and_sees_its_agents_alone(guarded: Guarded) -> None:
    _, holder = await guarded.create(agents=["one"])
    agents, runs = guarded.client.agents, guarded.client.runs
    listed = await agents.ListAgents(agent_registry_service_pb2.ListAgentsRequest(), metadata=holder)
    assert [agent.name for agent in listed.agents] == ["one"]
    for name in ("two", "three"):
        create = run_service_pb2.CreateRunRequest(spec=run_spec(agent=name), input=[said("x")])
        count = run_service_pb2.CountTokensRequest(spec=run_spec(agent=name), input=[said("x")])
        get = agent_registry_service_pb2.GetAgentRequest(name=name)
        for call in (
            runs.CreateRun(create, metadata=holder),
            runs.CountTokens(count, metadata=holder),
            agents.GetAgent(get, metadata=holder),
        ):
            refusal = await refused(call)
            expected = f"There is no agent {name!r}; list the agents to see which there are."
            assert (refusal.reason, refusal.message) == ("AGENT_NOT_FOUND", expected)
    await runs.CreateRun(
        run_service_pb2.CreateRunRequest(spec=run_spec(agent="one"), input=[said("x")]), metadata=holder
    )


async def test_an_admin_has_its_own_tenants_keys_and_no_others(guarded: Guarded) -> None:
    other, _ = await guarded.create(tenant="other")
    own, admin = await guarded.create(tenant="acme", scopes=[ADMIN])
    keys = guarded.keys
    listed = (await keys.ListKeys(key_service_pb2.ListKeysRequest(), metadata=admin)).keys
    assert [key.id for key in listed] == [own.id]
    missing = key_service_pb2.RevokeKeyRequest(key_id="key_" + "0" * 32)
    hidden = key_service_pb2.RevokeKeyRequest(key_id=other.id)
    for request in (missing, hidden):
        refusal = await refused(keys.RevokeKey(request, metadata=admin))
        assert (refusal.reason, refusal.message) == ("KEY_NOT_FOUND", f"There is no key {request.key_id!r}.")
    foreign = key_service_pb2.CreateKeyRequest(tenant="other")
    assert (await refused(keys.CreateKey(foreign, metadata=admin))).reason == "TENANT_DENIED"
    made = await keys.CreateKey(key_service_pb2.CreateKeyRequest(), metadata=admin)
    assert made.key.tenant == "acme"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "x" * 129}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"tenant": "../x"}, "tenant"),
        ({"scopes": [0]}, "scopes[0]"),
        ({"scopes": [99]}, "scopes[0]"),
        ({"agents": [""]}, "agents[0]"),
        ({"time_to_live": Duration(seconds=-1)}, "time_to_live"),
        ({"time_to_live": Duration()}, "time_to_live"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(guarded: Guarded, fields: dict[str, Any], field: str) -> None:
    refusal = await refused(guarded.keys.CreateKey(key_service_pb2.CreateKeyRequest(**fields), metadata=guarded.root))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_every_start_of_a_shared_call_shows_its_own_key(guarded: Guarded) -> None:
    _, holder = await guarded.create(tenant="acme")
    run = stream_service_pb2.StreamRunRequest(spec=run_spec(agent="one"), input=[said("x")])
    starts = [
        stream_service_pb2.MultiplexStart(tag=1, run=run),
        stream_service_pb2.MultiplexStart(tag=2, run=run, metadata=dict(holder)),
    ]
    # What the gateway itself shows counts for none of its callers.
    call: Any = guarded.client.streams.MultiplexRuns(metadata=guarded.root)
    await call.write(stream_service_pb2.MultiplexRunsRequest(starts=starts))
    ends: dict[int, int] = {}
    while len(ends) < len(starts):
        for batch in (await call.read()).batches:
            if batch.HasField("end"):
                ends[batch.tag] = batch.end.code
    await call.done_writing()
    assert ends == {1: grpc.StatusCode.UNAUTHENTICATED.value[0], 2: 0}
    listed = await guarded.client.runs.ListRuns(ListRuns(), metadata=holder)
    assert len(listed.runs) == 1
    assert not (await guarded.client.runs.ListRuns(ListRuns(), metadata=guarded.root)).runs


async def test_health_is_open_and_insight_is_the_operators(guarded: Guarded) -> None:
    channel = guarded.client.channel
    health: Any = health_pb2_grpc.HealthStub(channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    channelz: Any = channelz_pb2_grpc.ChannelzStub(channel)  # type: ignore[arg-type] # made for both kinds
    request = channelz_pb2.GetServersRequest()
    assert (await refused(channelz.GetServers(request))).reason == "KEY_MISSING"
    _, admin = await guarded.create(tenant="acme", scopes=[ADMIN])
    assert (await refused(channelz.GetServers(request, metadata=admin))).reason == "TENANT_DENIED"
    await channelz.GetServers(request, metadata=guarded.root)
    reflect: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    assert (await refused(reflect().read())).reason == "KEY_MISSING"


async def test_a_server_without_keys_answers_its_own_machine_alone(tmp_path: Path) -> None:
    async with running(tmp_path, PlainAgent("one")) as stack, serving(stack) as channel:
        client = Client.of(channel)
        await client.runs.ListRuns(ListRuns(), metadata=bearer("whatever"))
        refusal = await refused(client.runs.ListRuns(ListRuns(), metadata=(("x-breezeway-not-local", "why"),)))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_LOCAL")


def test_a_call_that_nobody_thought_of_is_the_operators() -> None:
    assert scopes_for("/somebody.v1.Service/Call") == frozenset({ADMIN})
    assert scopes_for("/breezeway.v1.AgentRegistryService/DeleteAgent") == frozenset({ADMIN})
    assert scopes_for("/breezeway.v1.AgentRegistryService/ListAgentProfiles") == frozenset({ADMIN})
    assert scopes_for("/breezeway.v1.AgentRegistryService/ListAgents") == ALL_SCOPES
    assert scopes_for("/breezeway.v1.StoreService/DeleteConversation") == frozenset({RUN})
    assert scopes_for("/breezeway.v1.RunService/CountTokens") == frozenset({READ})
