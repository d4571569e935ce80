"""AgentRegistryService: what can be run."""

from breezeway.v1 import agent_registry_service_pb2, agent_registry_service_pb2_grpc

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.admission import find_agent
from breezeway_server.errors import InvalidRequest
from breezeway_server.profiles.profiles import Profiles
from breezeway_server.services import validation
from breezeway_server.services.caller import current_caller
from breezeway_server.services.context import Context
from breezeway_server.services.idempotency import request_of
from breezeway_server.services.profiles import config_of, to_message

_DEFAULT_PAGE = 100


class AgentRegistryService(agent_registry_service_pb2_grpc.AgentRegistryServiceServicer):
    """Shows the registry, and changes the profiles in it."""

    def __init__(self, agents: AgentRegistry, profiles: Profiles) -> None:
        self._agents = agents
        self._profiles = profiles

    async def ListAgents(
        self, request: agent_registry_service_pb2.ListAgentsRequest, context: Context
    ) -> agent_registry_service_pb2.ListAgentsResponse:
        """See agent_registry_service.proto."""
        size = validation.page_size(request.page_size, _DEFAULT_PAGE)
        # A page token is the name of the page's last agent.
        caller = current_caller()
        known = self._agents.get(request.page_token)
        if request.page_token and (known is None or not caller.sees(known.info.name)):
            raise InvalidRequest("page_token", "page_token is none that ListAgents gave.")
        found = [info for info in self._agents.infos if info.name > request.page_token and caller.sees(info.name)]
        token = found[size - 1].name if len(found) > size else ""
        return agent_registry_service_pb2.ListAgentsResponse(agents=found[:size], next_page_token=token)

    async def GetAgent(
        self, request: agent_registry_service_pb2.GetAgentRequest, context: Context
    ) -> agent_registry_service_pb2.GetAgentResponse:
        """See agent_registry_service.proto."""
        agent = find_agent(self._agents, request.name, current_caller().agents, field="name")
        return agent_registry_service_pb2.GetAgentResponse(agent=agent.info)

    async def ListAgentProfiles(
        self, request: agent_registry_service_pb2.ListAgentProfilesRequest, context: Context
    ) -> agent_registry_service_pb2.ListAgentProfilesResponse:
        """See agent_registry_service.proto."""
        size = validation.page_size(request.page_size, _DEFAULT_PAGE)
        # A page token is the name of the page's last profile, which may be gone since.
        found = [profile for profile in self._profiles.list() if profile.stored.name > request.page_token]
        token = found[size - 1].stored.name if len(found) > size else ""
        return agent_registry_service_pb2.ListAgentProfilesResponse(
            profiles=[to_message(profile) for profile in found[:size]], next_page_token=token
        )

    async def GetAgentProfile(
        self, request: agent_registry_service_pb2.GetAgentProfileRequest, context: Context
    ) -> agent_registry_service_pb2.GetAgentProfileResponse:
        """See agent_registry_service.proto."""
        profile = self._profiles.get(request.name)
        return agent_registry_service_pb2.GetAgentProfileResponse(profile=to_message(profile))

    async def CreateAgent(
        self, request: agent_registry_service_pb2.CreateAgentRequest, context: Context
    ) -> agent_registry_service_pb2.CreateAgentResponse:
        """See agent_registry_service.proto."""
        repeatable = request_of(request)
        profile = await self._profiles.create(
            request.name, config_of(request.config), tenant=current_caller().tenant, request=repeatable
        )
        return agent_registry_service_pb2.CreateAgentResponse(profile=to_message(profile))

    async def UpdateAgent(
        self, request: agent_registry_service_pb2.UpdateAgentRequest, context: Context
    ) -> agent_registry_service_pb2.UpdateAgentResponse:
        """See agent_registry_service.proto."""
        profile = await self._profiles.update(request.name, config_of(request.config))
        return agent_registry_service_pb2.UpdateAgentResponse(profile=to_message(profile))

    async def DeleteAgent(
        self, request: agent_registry_service_pb2.DeleteAgentRequest, context: Context
    ) -> agent_registry_service_pb2.DeleteAgentResponse:
        """See agent_registry_service.proto."""
        await self._profiles.delete(request.name)
        return agent_registry_service_pb2.DeleteAgentResponse()
