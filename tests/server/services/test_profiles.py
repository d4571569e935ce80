"""Profiles over a real channel."""

import asyncio

import grpc
import pytest
from breezeway.v1 import agent_registry_service_pb2
from google.protobuf import json_format, struct_pb2

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused

Create = agent_registry_service_pb2.CreateAgentRequest
Delete = agent_registry_service_pb2.DeleteAgentRequest
Get = agent_registry_service_pb2.GetAgentProfileRequest
List = agent_registry_service_pb2.ListAgentProfilesRequest
Update = agent_registry_service_pb2.UpdateAgentRequest

LLM = {"kind": "llm", "model": "m", "base_url": "http://127.0.0.1:1/v1", "retries": 3, "sampling": {"temperature": 0.5}}


def struct(**fields: object) -> struct_pb2.Struct:
    return json_format.ParseDict(fields, struct_pb2.Struct())


async def test_an_agent_is_created_shown_changed_and_deleted(client: Client) -> None:
    created = (await client.agents.CreateAgent(Create(name="helper", config=struct(**LLM)))).profile
    assert json_format.MessageToDict(created.config) == LLM
    assert created.create_time == created.update_time
    assert (await client.agents.GetAgentProfile(Get(name="helper"))).profile == created
    agent = (await client.agents.GetAgent(agent_registry_service_pb2.GetAgentRequest(name="helper"))).agent
    assert agent.kind == "llm"
    assert agent.create_time.ToMicroseconds() == created.create_time.ToMicroseconds()
    changed = await client.agents.UpdateAgent(Update(name="helper", config=struct(model="n", retries=None)))
    assert json_format.MessageToDict(changed.profile.config) == {
        key: value for key, value in {**LLM, "model": "n"}.items() if key != "retries"
    }
    await client.agents.DeleteAgent(Delete(name="helper"))
    assert (await refused(client.agents.GetAgentProfile(Get(name="helper")))).reason == "AGENT_NOT_FOUND"


async def test_profiles_are_listed_by_name_in_pages(client: Client) -> None:
    for name in ("b", "a", "c"):
        await client.agents.CreateAgent(Create(name=name, config=struct(**LLM)))
    first = await client.agents.ListAgentProfiles(List(page_size=2))
    assert [profile.name for profile in first.profiles] == ["a", "b"]
    rest = await client.agents.ListAgentProfiles(List(page_token=first.next_page_token))
    assert [profile.name for profile in rest.profiles] == ["c"]
    assert not rest.next_page_token


async def test_an_agent_of_the_configuration_is_read_only(client: Client) -> None:
    for call in (
        client.agents.GetAgentProfile(Get(name="scripted")),
        client.agents.UpdateAgent(Update(name="scripted", config=struct(model="n"))),
        client.agents.DeleteAgent(Delete(name="scripted")),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "AGENT_READ_ONLY")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**LLM, "retries": 2.5}, "config.retries"),
        ({**LLM, "sampling": {"seed": 2.0**60}}, "config.sampling.seed"),
        ({**LLM, "colour": ["red"]}, "config.colour"),
    ],
)
async def test_faults_are_named_by_their_path(client: Client, config: dict[str, object], field: str) -> None:
    refusal = await refused(client.agents.CreateAgent(Create(name="helper", config=struct(**config))))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_the_same_request_is_the_same_agent(client: Client) -> None:
    request = Create(name="helper", config=struct(**LLM), request_id="key")
    made = await asyncio.gather(*(client.agents.CreateAgent(request) for _ in range(5)))
    assert [answer == made[0] for answer in made] == [True] * 5
    await client.agents.UpdateAgent(Update(name="helper", config=struct(model="n")))
    assert (await client.agents.CreateAgent(request)).profile.config["model"] == "n"
    for other in (
        Create(name="other", config=struct(**LLM), request_id="key"),
        Create(name="helper", config=struct(**{**LLM, "model": "n"}), request_id="key"),
    ):
        refusal = await refused(client.agents.CreateAgent(other))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    refusal = await refused(client.agents.CreateAgent(Create(name="helper", request_id="x" * 256)))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
    await client.agents.DeleteAgent(Delete(name="helper"))
    assert (await client.agents.CreateAgent(request)).profile.config["model"] == "m"
