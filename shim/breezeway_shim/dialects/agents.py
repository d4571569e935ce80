"""The agents that a caller may run, for the dialects that tell of them or choose among them."""

from aiohttp import web
from breezeway.v1 import agent_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest

from breezeway_shim.backend import BACKEND, metadata_of

_PAGE_SIZE = 1000


async def list_agents(request: web.Request) -> list[agent_pb2.Agent]:
    """All of them, by name. Raises `ApiError`."""
    backend, metadata = request.app[BACKEND], metadata_of(request)
    agents: list[agent_pb2.Agent] = []
    page_token = ""
    while True:
        wanted = ListAgentsRequest(page_size=_PAGE_SIZE, page_token=page_token)
        page = await backend.read(backend.agents.ListAgents, wanted, metadata)
        agents += page.agents
        page_token = page.next_page_token
        if not page_token:
            return agents
