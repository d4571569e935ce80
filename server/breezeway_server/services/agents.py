"""AgentRegistryService: what can be run."""

from breezeway.v1 import agent_registry_service_pb2, agent_registry_service_pb2_grpc

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.admission import find_agent
from breezeway_server.errors import InvalidRequest
from breezeway_server.services import validation
from breezeway_server.services.context import Context

_DEFAULT_PAGE = 100


class AgentRegistryService(agent_registry_service_pb2_grpc.AgentRegistryServiceServicer):
    """Shows the registry."""

    def __init__(self, agents: AgentRegistry) -> None:
        self._agents = agents

    async def ListAgents(
        self, request: agent_registry_service_pb2.ListAgentsRequest, context: Context
    ) -> agent_registry_service_pb2.ListAgentsResponse:
        """See agent_registry_service.proto."""
        size = validation.page_size(request.page_size, _DEFAULT_PAGE)
        # A page token is the name of the page's last agent.
        if request.page_token and self._agents.get(request.page_token) is None:
            raise InvalidRequest("page_token", "page_token is none that ListAgents gave.")
        found = [info for info in self._agents.infos if info.name > request.page_token]
        token = found[size - 1].name if len(found) > size else ""
        return agent_registry_service_pb2.ListAgentsResponse(agents=found[:size], next_page_token=token)

    async def GetAgent(
        self, request: agent_registry_service_pb2.GetAgentRequest, context: Context
    ) -> agent_registry_service_pb2.GetAgentResponse:
        """See agent_registry_service.proto."""
        agent = find_agent(self._agents, request.name)
        return agent_registry_service_pb2.GetAgentResponse(agent=agent.info)
