"""Isolation: two tenants of one server, and every call that takes an id, tried with the ids of the other.

A call with a foreign id must be answered like one with an id that never was, must show nothing of the other tenant's,
and must change nothing of it. Which fields hold ids is read from the contract, so that a new call is tried by itself.
"""

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from breezeway.v1 import (
    item_pb2,
    job_service_pb2,
    key_pb2,
    key_service_pb2,
    run_pb2,
    run_service_pb2,
    store_service_pb2,
    stream_service_pb2,
)
from breezeway_server.agents.steps import TextDelta
from breezeway_server.services.keyring import KeyRing
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.agents import said
from tests.support.server import PlainAgent, ScriptedAgent, run_spec, running, serving

ROOT_KEY = "the-operators-own-key"
TENANTS = ("acme", "umbrella")
SCOPES = [key_pb2.KEY_SCOPE_RUN, key_pb2.KEY_SCOPE_ADMIN]
_FILES = (run_service_pb2, stream_service_pb2, store_service_pb2, job_service_pb2, key_service_pb2)

# Which kind of thing a field of this name refers to.
KINDS = {
    "run_id": "run",
    "after_run_id": "run",
    "previous_run_id": "run",
    "conversation_id": "conversation",
    "item_id": "item",
    "after_item_id": "item",
    "approval_request_id": "item",
    "job_id": "job",
    "key_id": "key",
    "request_id": "request",
    "page_token": "run",
}
Path_ = tuple[str, ...]


class Probe(NamedTuple):
    """A call, and the fields of its request that hold ids, each as the path to it."""

    rpc: MethodDescriptor
    fields: Sequence[Path_]


class Outcome(NamedTuple):
    """How a call went: its replies, or the code and the text of its failure."""

    code: grpc.StatusCode
    text: str
    replies: Sequence[Message]


def _id_fields(message: Descriptor) -> Iterator[Path_]:
    for field in message.fields:
        if field.name in KINDS and field.type == FieldDescriptor.TYPE_STRING:
            yield (field.name,)
        elif field.name == "spec" and field.message_type is not None:
            yield from (("spec", name) for (name,) in _id_fields(field.message_type))
        elif field.message_type is item_pb2.Item.DESCRIPTOR:
            yield (field.name, "item_reference")


def _probes() -> list[Probe]:
    rpcs = (
        rpc
        for file in _FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for rpc in service.methods
        # Its starts are StreamRun's; tests/server/services/test_keys.py has them.
        if not rpc.client_streaming
    )
    return [Probe(rpc, fields) for rpc in rpcs if (fields := list(_id_fields(rpc.input_type)))]


PROBES = _probes()


def _request(probe: Probe, ids: Mapping[Path_, str]) -> Any:
    """A request that is right but for its ids."""
    request: Any = GetMessageClass(probe.rpc.input_type)()
    names = {field.name for field in probe.rpc.input_type.fields}
    if "spec" in names:
        request.spec.CopyFrom(run_spec(agent="plain"))
    for name in names & {"input", "items"}:
        getattr(request, name).append(said("hello"))
    if "decision" in names:
        request.decision = item_pb2.APPROVAL_DECISION_ONCE
    for path, value in ids.items():
        if path[-1] == "item_reference":
            getattr(request, path[0]).append(item_pb2.Item(item_reference=item_pb2.ItemReference(id=value)))
        elif path[0] == "spec":
            setattr(request.spec, path[1], value)
        else:
            setattr(request, path[0], value)
    return request


def _kind(path: Path_) -> str:
    return "item" if path[-1] == "item_reference" else KINDS[path[-1]]


class IsolationMachine(RuleBasedStateMachine):
    """A server, two tenants who fill it, and each with the other's ids in their hands."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.exits = AsyncExitStack()
        self.ids: dict[str, dict[str, list[str]]] = {tenant: {} for tenant in TENANTS}
        self.count = 0

    @initialize()
    def start(self) -> None:
        self.loop.run(self._start())

    async def _start(self) -> None:
        directory = self.exits.enter_context(tempfile.TemporaryDirectory())
        agents = (PlainAgent("plain", TextDelta("an answer")), ScriptedAgent("busy"))
        stack = await self.exits.enter_async_context(running(Path(directory), *agents))
        self.new_id = stack.new_id
        ring = KeyRing([], [ROOT_KEY])
        self.channel = await self.exits.enter_async_context(serving(stack, ring))
        self.holders = dict.fromkeys(TENANTS, ROOT_KEY)
        for tenant in TENANTS:
            request = key_service_pb2.CreateKeyRequest(tenant=tenant, name=f"secret of {tenant}", scopes=SCOPES)
            made: Any = await self._reply(tenant, "KeyService", "CreateKey", request)
            self.holders[tenant] = made.secret
            self.ids[tenant]["key"] = [made.key.id]
        for tenant in TENANTS:
            # One with a name of the tenant's choice, one with an id of the server's.
            await self._add(tenant, "conversation")
            await self._add(tenant, "conversation")
            await self._add(tenant, "run")
            await self._add(tenant, "job")

    async def _add(self, tenant: str, kind: str) -> None:
        self.count += 1
        known = self.ids[tenant]
        secret = f"secret of {tenant}"
        if kind == "conversation":
            create = store_service_pb2.CreateConversationRequest(
                conversation_id=f"plans-{self.count:06}" if self.count % 2 else "",
                items=[said(secret)],
                metadata={"note": secret},
            )
            made: Any = await self._reply(tenant, "StoreService", "CreateConversation", create)
            known.setdefault("conversation", []).append(made.conversation.id)
            listing = store_service_pb2.ListConversationItemsRequest(conversation_id=made.conversation.id)
            listed: Any = await self._reply(tenant, "StoreService", "ListConversationItems", listing)
            known.setdefault("item", []).extend(item.id for item in listed.items)
        elif kind == "job":
            job = job_service_pb2.CreateJobRequest(name=secret, schedule="every 9h", prompt=secret, agent="plain")
            made = await self._reply(tenant, "JobService", "CreateJob", job)
            known.setdefault("job", []).append(made.job.id)
        else:
            spec = run_spec(agent="busy" if self.count % 3 == 0 else "plain", metadata={"note": secret})
            spec.durability = run_pb2.DURABILITY_MEMORY if self.count % 4 == 0 else run_pb2.DURABILITY_LOGGED
            order = f"order-{self.count:06}"
            run = run_service_pb2.CreateRunRequest(spec=spec, input=[said(secret)], request_id=order)
            made = await self._reply(tenant, "RunService", "CreateRun", run)
            if spec.agent == "plain":
                # Whether one is still under way is answered in a way of its own, and must not be a matter of time.
                await self._ended(tenant, made.run.id)
            known.setdefault("run", []).append(made.run.id)
            known.setdefault("request", []).append(order)
            known.setdefault("item", []).extend(item.id for item in made.run.input)

    async def _ended(self, tenant: str, run_id: str) -> None:
        rpc = stream_service_pb2.DESCRIPTOR.services_by_name["StreamService"].methods_by_name["FollowRun"]
        outcome = await self._call(tenant, rpc, stream_service_pb2.FollowRunRequest(run_id=run_id))
        assert outcome.code is grpc.StatusCode.OK, outcome.text

    @rule(tenant=st.sampled_from(TENANTS), kind=st.sampled_from(["run", "conversation", "job"]))
    def adds(self, tenant: str, kind: str) -> None:
        self.loop.run(self._add(tenant, kind))

    @rule(victim=st.sampled_from(TENANTS), probe=st.sampled_from(PROBES), data=st.data())
    def tries_foreign_ids(self, victim: str, probe: Probe, data: st.DataObject) -> None:
        (attacker,) = set(TENANTS) - {victim}
        chosen = data.draw(st.lists(st.sampled_from(probe.fields), min_size=1, unique=True))
        foreign, missing = {}, {}
        for path in chosen:
            kind = _kind(path)
            own = data.draw(st.booleans()) if len(chosen) > 1 and path != chosen[0] else False
            if kind == "request" and not own:
                # A new one, because the name of a request that an attacker has used before is the attacker's own.
                self.loop.run(self._add(victim, "run"))
            ids = self.ids[attacker if own else victim][kind]
            if kind == "request" and not own:
                ids = ids[-1:]
            # A name that a caller chose is each tenant's own: whoever uses it in a run has such a conversation then.
            foreign[path] = data.draw(
                st.sampled_from([each for each in ids if own or kind != "conversation" or each.startswith("conv_")])
            )
            missing[path] = foreign[path] if own else self._missing(foreign[path])
        self.loop.run(self._compare(victim, attacker, probe, foreign, missing))

    def _missing(self, known: str) -> str:
        """An id that never was, of the shape of one that is."""
        digits = re.search(r"[0-9a-f]{32}", known)
        if digits is not None:
            return known.replace(digits[0], self.new_id())
        self.count += 1
        return f"{known.rpartition('-')[0]}-{self.count:06}"

    async def _compare(
        self, victim: str, attacker: str, probe: Probe, foreign: Mapping[Path_, str], missing: Mapping[Path_, str]
    ) -> None:
        before = await self._view(victim)
        tried = await self._call(attacker, probe.rpc, _request(probe, foreign))
        assert f"secret of {victim}" not in tried.text
        for reply in tried.replies:
            assert f"secret of {victim}".encode() not in reply.SerializeToString()
            if (run := getattr(reply, "run", None)) is not None and run.spec.agent == "plain":
                # The twin must not find it under way.
                await self._ended(attacker, run.id)
        twin = await self._call(attacker, probe.rpc, _request(probe, missing))
        assert (tried.code, _blind(tried.text, foreign)) == (twin.code, _blind(twin.text, missing)), probe.rpc.full_name
        assert await self._view(victim) == before

    async def _view(self, tenant: str) -> Sequence[Message]:
        """All that a tenant sees of its own and that only it may change."""
        conversations: Any = await self._reply(
            tenant, "StoreService", "ListConversations", store_service_pb2.ListConversationsRequest(page_size=1000)
        )
        views = [
            await self._reply(tenant, "KeyService", "ListKeys", key_service_pb2.ListKeysRequest()),
            await self._reply(tenant, "JobService", "ListJobs", job_service_pb2.ListJobsRequest(page_size=1000)),
        ]
        for conversation in conversations.conversations:
            listing = store_service_pb2.ListConversationItemsRequest(conversation_id=conversation.id, page_size=1000)
            views.append(conversation)
            views.append(await self._reply(tenant, "StoreService", "ListConversationItems", listing))
        for run_id in self.ids[tenant]["run"]:
            found: Any = await self._reply(tenant, "RunService", "GetRun", run_service_pb2.GetRunRequest(run_id=run_id))
            # Its own progress is its own.
            assert found.run.state != run_pb2.RUN_STATE_CANCELLED
            views.append(run_pb2.Run(id=found.run.id, spec=found.run.spec, input=found.run.input))
        return views

    async def _reply(self, tenant: str, service: str, method: str, request: Message) -> Message:
        rpc = next(
            file.DESCRIPTOR.services_by_name[service].methods_by_name[method]
            for file in _FILES
            if service in file.DESCRIPTOR.services_by_name
        )
        outcome = await self._call(tenant, rpc, request)
        assert outcome.code is grpc.StatusCode.OK, outcome.text
        return outcome.replies[0]

    async def _call(self, tenant: str, rpc: MethodDescriptor, request: Message) -> Outcome:
        assert rpc.containing_service is not None
        path = f"/{rpc.containing_service.full_name}/{rpc.name}"
        serializers = (type(request).SerializeToString, GetMessageClass(rpc.output_type).FromString)
        metadata = (("authorization", f"Bearer {self.holders[tenant]}"),)
        try:
            if rpc.server_streaming:
                stream: Any = self.channel.unary_stream(path, *serializers)(request, metadata=metadata)
                return Outcome(grpc.StatusCode.OK, "", [reply async for reply in stream])
            unary: Any = self.channel.unary_unary(path, *serializers)(request, metadata=metadata)
            return Outcome(grpc.StatusCode.OK, "", [await unary])
        except grpc.aio.AioRpcError as error:
            return Outcome(error.code(), f"{error.details()} {error.trailing_metadata()}", [])

    @invariant()
    def lists_hold_ones_own(self) -> None:
        for tenant in TENANTS:
            listed: Any = self.loop.run(
                self._reply(tenant, "RunService", "ListRuns", run_service_pb2.ListRunsRequest(page_size=1000))
            )
            others = set(self.ids[next(iter(set(TENANTS) - {tenant}))]["run"])
            assert others.isdisjoint(run.id for run in listed.runs)

    def teardown(self) -> None:
        self.loop.run(self.exits.aclose())
        self.loop.close()


def _blind(text: str, ids: Mapping[Path_, str]) -> str:
    """The text without the ids that were given, which it may name, in any of their spellings."""
    # The longest first: the id of an item holds that of its run.
    for value in sorted(ids.values(), key=len, reverse=True):
        text = text.replace(value, "<id>").replace(value.rpartition("_")[2], "<id>")
    return text


def test_every_call_that_takes_an_id_is_tried() -> None:
    tried = {probe.rpc.full_name.removeprefix("breezeway.v1.") for probe in PROBES}
    assert tried >= {"RunService.GetRun", "StreamService.FollowRun", "StoreService.DeleteConversationItem"}
    assert tried >= {"JobService.RunJob", "KeyService.RevokeKey", "RunService.CountTokens", "StreamService.StreamRun"}


TestIsolation = IsolationMachine.TestCase
TestIsolation.settings = settings(
    max_examples=6,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Each example is a server of its own: making a failure smaller would take longer than reading it.
    phases=[Phase.explicit, Phase.generate],
)
