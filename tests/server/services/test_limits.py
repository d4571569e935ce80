"""Limits of keys over gRPC: what is refused, how, and what the metadata tells."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway.v1 import job_service_pb2, key_pb2, key_service_pb2, key_service_pb2_grpc, run_pb2, stream_service_pb2
from breezeway.v1.run_service_pb2 import CreateRunRequest, GetRunRequest
from breezeway_server.agents.steps import ModelCallCompleted, TextDelta
from breezeway_server.engine.quota import Rates
from breezeway_server.services.keyring import KeyRing

from tests.server.services.conftest import Client
from tests.server.services.statuses import Refusal, refusal_of, refused
from tests.support.agents import said
from tests.support.server import PlainAgent, run_spec, running, serving

ROOT = (("authorization", "Bearer the-operators-own-key"),)
SECOND = (("authorization", "Bearer the-next-key"),)
USAGE = run_pb2.Usage(input_tokens=40, output_tokens=60)
Metadata = tuple[tuple[str, str], ...]


class Limited:
    """A server whose keys may create 100 runs a minute, unless they have limits of their own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.client = Client.of(channel)
        self.keys: Any = key_service_pb2_grpc.KeyServiceStub(channel)

    async def key(self, **limits: int) -> Metadata:
        """The metadata of the holder of a new key."""
        request = key_service_pb2.CreateKeyRequest(
            scopes=[key_pb2.KEY_SCOPE_RUN, key_pb2.KEY_SCOPE_ADMIN], limits=key_pb2.KeyLimits(**limits)
        )
        reply = await self.keys.CreateKey(request, metadata=ROOT)
        return (("authorization", f"Bearer {reply.secret}"),)

    async def create(self, holder: Metadata, request_id: str = "") -> dict[str, str]:
        """Create a run; what the initial metadata tells."""
        request = CreateRunRequest(spec=run_spec(agent="plain"), input=[said("hello")], request_id=request_id)
        call = self.client.runs.CreateRun(request, metadata=holder)
        await call
        return told(await call.initial_metadata())

    async def stream(self, holder: Metadata) -> dict[str, str]:
        """Run one to its end; what the initial metadata tells."""
        request = stream_service_pb2.StreamRunRequest(spec=run_spec(agent="plain"), input=[said("hello")])
        call = self.client.streams.StreamRun(request, metadata=holder)
        assert [response async for response in call]
        return told(await call.initial_metadata())

    async def multiplexed(self, *holders: Metadata) -> list[list[stream_service_pb2.MultiplexBatch]]:
        """Start a run for each over one call; the batches of each up to their ends."""
        run = stream_service_pb2.StreamRunRequest(spec=run_spec(agent="plain"), input=[said("hello")])
        call: Any = self.client.streams.MultiplexRuns()
        batches: list[list[stream_service_pb2.MultiplexBatch]] = [[] for _ in holders]
        for tag, holder in enumerate(holders):
            start = stream_service_pb2.MultiplexStart(tag=tag, run=run, metadata=dict(holder))
            await call.write(stream_service_pb2.MultiplexRunsRequest(starts=[start]))
            while not (batches[tag] and batches[tag][-1].HasField("end")):
                for batch in (await call.read()).batches:
                    batches[batch.tag].append(batch)
        await call.done_writing()
        return batches


def told(metadata: Any) -> dict[str, str]:
    """What of it tells of limits, without the time after which all is as if nothing had been used; that must fit."""
    limits = {name.removeprefix("x-ratelimit-"): value for name, value in metadata or () if "ratelimit" in name}
    for what in ("requests", "tokens"):
        if f"limit-{what}" in limits:
            untouched = limits[f"limit-{what}"] == limits[f"remaining-{what}"]
            assert re.fullmatch("0s" if untouched else "1m0s|5[0-9]s", limits.pop(f"reset-{what}"))
    return limits


def requests(limit: int, remaining: int) -> dict[str, str]:
    return {"limit-requests": str(limit), "remaining-requests": str(remaining)}


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Limited]:
    agent = PlainAgent("plain", TextDelta("x"), ModelCallCompleted("m", USAGE, last=True))
    # In this minute no time passes, however long the test takes.
    async with running(tmp_path, agent, ticks=int) as stack:
        plain = [metadata[0][1].removeprefix("Bearer ") for metadata in (ROOT, SECOND)]
        async with serving(stack, KeyRing([], plain, rates=Rates(requests_per_minute=100))) as channel:
            yield Limited(channel)


async def test_every_way_to_create_a_run_tells_what_is_left(limited: Limited) -> None:
    holder = await limited.key(requests_per_minute=5)
    assert await limited.create(holder) == requests(5, 4)
    assert await limited.stream(holder) == requests(5, 3)
    ((first, *rest),) = await limited.multiplexed(holder)
    assert told(first.metadata.items()) == requests(5, 2)
    assert not first.events
    assert not any(batch.metadata for batch in rest)


async def test_every_way_to_create_a_run_is_refused_alike(limited: Limited) -> None:
    holder = await limited.key(requests_per_minute=1)
    await limited.create(holder)
    refusals: list[Refusal] = []
    for attempt in (limited.create(holder), limited.stream(holder)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await attempt
        refusals.append(refusal_of(raised.value))
        assert told(raised.value.trailing_metadata()) == requests(1, 0)
    for refusal in refusals:
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED_REQUESTS")
        assert refusal.retry_after is not None
        assert 50 < refusal.retry_after <= 60
    ((batch,),) = await limited.multiplexed(holder)
    assert batch.end.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert told(batch.metadata.items()) == requests(1, 0)


async def test_a_repeat_is_answered_and_costs_nothing(limited: Limited) -> None:
    holder = await limited.key(requests_per_minute=1)
    assert await limited.create(holder, "again") == requests(1, 0)
    assert await limited.create(holder, "again") == requests(1, 0)


async def test_tokens_are_told_and_refused(limited: Limited) -> None:
    holder = await limited.key(tokens_per_minute=150, requests_per_minute=0)
    assert await limited.stream(holder) == {"limit-tokens": "150", "remaining-tokens": "150"}
    assert await limited.stream(holder) == {"limit-tokens": "150", "remaining-tokens": "50"}
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await limited.stream(holder)
    assert refusal_of(raised.value).reason == "RATE_LIMITED_TOKENS"
    assert told(raised.value.trailing_metadata())["remaining-tokens"] == "0"


async def test_keys_have_the_servers_limit_unless_they_have_their_own_or_none(limited: Limited) -> None:
    assert await limited.create(await limited.key()) == requests(100, 99)
    assert await limited.create(await limited.key(requests_per_minute=7)) == requests(7, 6)
    assert await limited.create(await limited.key(requests_per_minute=0)) == {}


async def test_what_one_key_uses_no_other_sees(limited: Limited) -> None:
    one, two = await limited.key(), await limited.key()
    for holder in (one, two, ROOT, SECOND):
        assert await limited.create(holder) == requests(100, 99)
    batches = await limited.multiplexed(one, two, one)
    assert [told(first.metadata.items()) for first, *_ in batches] == [requests(100, left) for left in (98, 98, 97)]


async def test_a_rotated_key_has_used_what_it_has_used(limited: Limited) -> None:
    holder = await limited.key()
    await limited.create(holder)
    key_id = f"key_{holder[0][1].split('_')[1]}"
    reply = await limited.keys.RotateKey(key_service_pb2.RotateKeyRequest(key_id=key_id), metadata=ROOT)
    assert reply.key.limits == key_pb2.KeyLimits()
    assert await limited.create((("x-api-key", reply.secret),)) == requests(100, 98)


async def test_limits_are_listed_with_their_key(limited: Limited) -> None:
    await limited.key(max_runs=3, tokens_per_minute=0)
    (key,) = (await limited.keys.ListKeys(key_service_pb2.ListKeysRequest(), metadata=ROOT)).keys
    assert key.limits == key_pb2.KeyLimits(max_runs=3, tokens_per_minute=0)


async def test_limits_can_be_changed_and_what_was_used_stays_used(limited: Limited) -> None:
    holder = await limited.key(requests_per_minute=1, max_runs=9)
    await limited.create(holder)
    key_id = f"key_{holder[0][1].split('_')[1]}"
    update = key_service_pb2.UpdateKeyRequest(key_id=key_id, limits=key_pb2.KeyLimits(requests_per_minute=3))
    key = (await limited.keys.UpdateKey(update, metadata=ROOT)).key
    assert key.limits == update.limits
    assert await limited.create(holder) == requests(3, 1)
    await limited.keys.UpdateKey(key_service_pb2.UpdateKeyRequest(key_id=key_id), metadata=ROOT)
    assert await limited.create(holder) == requests(100, 97)
    nobody = key_service_pb2.UpdateKeyRequest(key_id="key_0")
    assert (await refused(limited.keys.UpdateKey(nobody, metadata=ROOT))).reason == "KEY_NOT_FOUND"


async def test_who_runs_a_job_now_pays_for_it(limited: Limited) -> None:
    holder = await limited.key(requests_per_minute=1)
    request = job_service_pb2.CreateJobRequest(name="j", schedule="every 9h", prompt="hello", agent="plain")
    job = (await limited.client.jobs.CreateJob(request, metadata=holder)).job
    run_now = job_service_pb2.RunJobRequest(job_id=job.id)
    ran = (await limited.client.jobs.RunJob(run_now, metadata=holder)).job
    run = (await limited.client.runs.GetRun(GetRunRequest(run_id=ran.last_run_id), metadata=holder)).run
    assert run.spec.key_id == f"key_{holder[0][1].split('_')[1]}"
    assert (await refused(limited.client.jobs.RunJob(run_now, metadata=holder))).reason == "RATE_LIMITED_REQUESTS"


async def test_a_server_without_keys_has_the_limits_that_it_is_given(tmp_path: Path) -> None:
    async with running(tmp_path, PlainAgent("plain")) as stack:
        async with serving(stack, KeyRing([], rates=Rates(requests_per_minute=1))) as channel:
            assert await Limited(channel).create(()) == {}
        async with serving(stack, KeyRing([], open_rates=Rates(requests_per_minute=9))) as channel:
            assert await Limited(channel).create(()) == requests(9, 7), "all callers together"


async def test_a_budget_must_be_something(limited: Limited) -> None:
    request = CreateRunRequest(spec=run_spec(agent="plain", max_total_tokens=0), input=[said("hello")])
    refusal = await refused(limited.client.runs.CreateRun(request, metadata=ROOT))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "spec.max_total_tokens")
