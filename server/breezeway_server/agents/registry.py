"""Which agents there are: by name or alias."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from breezeway.v1 import agent_pb2

from breezeway_server.agents.base import Agent
from breezeway_server.agents.errors import ConfigError


class Shared(Protocol):
    """Something that several agents use."""

    async def close(self) -> None:
        """Let go of it, once no agent uses it any more."""


class AgentRegistry:
    """The agents of a server, and what they share."""

    def __init__(self, agents: Iterable[Agent], *, shared: Sequence[Shared] = ()) -> None:
        self._agents: dict[str, Agent] = {}
        self._shared = shared
        self._by_name: dict[str, Agent] = {}
        for agent in sorted(agents, key=lambda agent: agent.info.name):
            self.put(agent)

    def put(self, agent: Agent) -> Agent | None:
        """Have the agent, in place of the one of its name, which is returned: the caller closes it.

        Raises `ConfigError`, changing nothing, where its name or an alias belongs to another agent.
        """
        before = self._agents.get(agent.info.name)
        for name in (agent.info.name, *agent.info.aliases):
            other = self._by_name.get(name)
            if other is not None and other is not before:
                raise ConfigError(
                    f'agents.{agent.info.name}: the name or alias "{name}" also belongs to agent '
                    f'"{other.info.name}"; rename one of them.'
                )
        if before is not None:
            self.remove(before)
        self._agents[agent.info.name] = agent
        self._by_name.update((name, agent) for name in (agent.info.name, *agent.info.aliases))
        return before

    def remove(self, agent: Agent) -> None:
        """Have the agent no more; the caller closes it."""
        del self._agents[agent.info.name]
        self._by_name = {name: other for name, other in self._by_name.items() if other is not agent}

    def get(self, name: str) -> Agent | None:
        """The agent of that name or alias, or None."""
        return self._by_name.get(name)

    @property
    def infos(self) -> Sequence[agent_pb2.Agent]:
        """All agents as callers see them, by name."""
        return [self._agents[name].info for name in sorted(self._agents)]

    async def close(self) -> None:
        """Let go of all that the agents hold. No run may be under way."""
        for agent in self._agents.values():
            await agent.close()
        await asyncio.gather(*(shared.close() for shared in self._shared))
