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
        self._agents = sorted(agents, key=lambda agent: agent.info.name)
        self._shared = shared
        self._by_name: dict[str, Agent] = {}
        for agent in self._agents:
            for name in (agent.info.name, *agent.info.aliases):
                if (other := self._by_name.setdefault(name, agent)) is not agent:
                    raise ConfigError(
                        f'agents.{agent.info.name}: the name or alias "{name}" also belongs to agent '
                        f'"{other.info.name}"; rename one of them.'
                    )

    def get(self, name: str) -> Agent | None:
        """The agent of that name or alias, or None."""
        return self._by_name.get(name)

    @property
    def infos(self) -> Sequence[agent_pb2.Agent]:
        """All agents as callers see them, by name."""
        return [agent.info for agent in self._agents]

    async def close(self) -> None:
        """Let go of all that the agents hold. No run may be under way."""
        for agent in self._agents:
            await agent.close()
        await asyncio.gather(*(shared.close() for shared in self._shared))
