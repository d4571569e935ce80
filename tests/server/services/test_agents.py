"""AgentRegistryService over a real channel."""

import grpc
import pytest
from breezeway.v1 import agent_registry_service_pb2

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.server import ScriptedAgent

Get = agent_registry_service_pb2.GetAgentRequest
List = agent_registry_service_pb2.ListAgentsRequest


@pytest.mark.parametrize("name", ["scripted", "other-name"])
async def test_an_agent_is_found_by_name_and_alias(client: Client, agent: ScriptedAgent, name: str) -> None:
    assert (await client.agents.GetAgent(Get(name=name))).agent == agent.info


@pytest.mark.parametrize("name", ["", "nobody", "x" * 5000])
async def test_an_agent_that_is_not_there(client: Client, name: str) -> None:
    refusal = await refused(client.agents.GetAgent(Get(name=name)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND")


async def test_agents_are_listed_by_name_in_pages(client: Client) -> None:
    whole = await client.agents.ListAgents(List())
    assert [each.name for each in whole.agents] == ["plain", "scripted"]
    assert not whole.next_page_token
    first = await client.agents.ListAgents(List(page_size=1))
    assert [each.name for each in first.agents] == ["plain"]
    second = await client.agents.ListAgents(List(page_size=1, page_token=first.next_page_token))
    assert [each.name for each in second.agents] == ["scripted"]
    assert not second.next_page_token


@pytest.mark.parametrize(
    ("query", "field"), [(List(page_size=-1), "page_size"), (List(page_token="nobody"), "page_token")]
)
async def test_a_page_that_cannot_be(client: Client, query: List, field: str) -> None:
    refusal = await refused(client.agents.ListAgents(query))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
