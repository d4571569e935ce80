"""The agent in place of one that cannot be built: every run of it fails, and says why."""

from collections.abc import AsyncGenerator, Sequence

from breezeway.v1 import agent_pb2, run_pb2

from breezeway_server.agents.base import AgentError, RunContext
from breezeway_server.agents.steps import Step


class UnavailableAgent:
    """Is listed, takes everything, and fails."""

    def __init__(self, info: agent_pb2.Agent, error: run_pb2.RunError) -> None:
        self.info = info
        # A request must not be refused for what an agent takes that is not there.
        self.info.capabilities.CopyFrom(
            agent_pb2.AgentCapabilities(
                content_kinds=[agent_pb2.CONTENT_KIND_IMAGE, agent_pb2.CONTENT_KIND_FILE],
                client_tools=True,
                multiple_choices=True,
                resumable=True,
            )
        )
        self._error = error

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:  # noqa: ARG002 - the agents' interface
        """Say nothing, and fail."""
        nothing: Sequence[Step] = ()
        for step in nothing:
            yield step
        raise AgentError(self._error)

    async def close(self) -> None:
        """Nothing to let go of."""
