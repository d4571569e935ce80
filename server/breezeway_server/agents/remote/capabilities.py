"""What a remote agent takes: in its own words, in the operator's, and against what a run asks for."""

from breezeway.v1 import agent_pb2
from msgspec import Struct

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.remote.config import RemoteConfig

_IMAGE = agent_pb2.CONTENT_KIND_IMAGE
_FILE = agent_pb2.CONTENT_KIND_FILE


class Overrides(Struct, frozen=True):
    """What the operator says of the agent; None leaves it to the agent."""

    images: bool | None = None
    files: bool | None = None
    client_tools: bool | None = None
    multiple_choices: bool | None = None
    resumable: bool | None = None

    @classmethod
    def of(cls, config: RemoteConfig) -> "Overrides":
        """The capabilities in the agent's configuration."""
        return cls(config.images, config.files, config.client_tools, config.multiple_choices, config.resumable)

    def everything(self) -> agent_pb2.AgentCapabilities:
        """What an agent counts as taking before it was asked."""
        return self.over(
            agent_pb2.AgentCapabilities(
                content_kinds=[_IMAGE, _FILE], client_tools=True, multiple_choices=True, resumable=True
            )
        )

    def over(self, said: agent_pb2.AgentCapabilities) -> agent_pb2.AgentCapabilities:
        """The agent's own words, with the operator's in their place where there are some."""
        kinds = ((_IMAGE, self.images), (_FILE, self.files))
        return agent_pb2.AgentCapabilities(
            content_kinds=[kind for kind, told in kinds if _either(told, kind in said.content_kinds)],
            client_tools=_either(self.client_tools, said.client_tools),
            multiple_choices=_either(self.multiple_choices, said.multiple_choices),
            resumable=_either(self.resumable, said.resumable),
        )


def _either(told: bool | None, otherwise: bool) -> bool:
    return otherwise if told is None else told


def excess(capabilities: agent_pb2.AgentCapabilities, context: RunContext) -> str:
    """What the run asks for beyond `capabilities`, in words; empty where there is nothing."""
    if context.spec.tools and not capabilities.client_tools:
        return "tools of the caller"
    if context.spec.sampling.n > 1 and not capabilities.multiple_choices:
        return "n above 1"
    for item in context.input:
        for part in item.message.content:
            if part.HasField("image") and _IMAGE not in capabilities.content_kinds:
                return "images"
            if part.HasField("file") and _FILE not in capabilities.content_kinds:
                return "files"
    return ""
