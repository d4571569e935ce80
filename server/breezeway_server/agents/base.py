"""What an agent is to the engine, and what the engine is to an agent."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from breezeway.v1 import agent_pb2, item_pb2, run_pb2
from msgspec import Struct

from breezeway_server.agents.steps import Step


class Approval(Struct, frozen=True):
    """What was decided about a call; `reason` is in the decider's words."""

    granted: bool
    reason: str = ""


class RunContext(Protocol):
    """What an agent knows of the run it works on. Its messages are the engine's own and must not be changed."""

    @property
    def run_id(self) -> str:
        """The run's id, `run_…`."""

    @property
    def tenant(self) -> str:
        """Whose run it is; `spec.key_id` is the key, and `spec.user` what the caller calls their own user."""

    @property
    def attempt(self) -> int:
        """From 1; above 1 where an earlier attempt was lost and `output` already holds what it completed."""

    @property
    def spec(self) -> run_pb2.RunSpec:
        """What the caller asked for."""

    @property
    def history(self) -> Sequence[item_pb2.Item]:
        """The completed items before this run's input, oldest first."""

    @property
    def input(self) -> Sequence[item_pb2.Item]:
        """What the caller put in."""

    @property
    def output(self) -> Sequence[item_pb2.Item]:
        """What the run has completed so far, this attempt's items included, in the order in which they began.

        The engine has taken in a step when the `yield` that gave it returns, so an agent that reads this needs no
        books of its own, and can go on from the log after a crash.
        """

    async def approval(self, call_id: str) -> Approval:
        """Wait until somebody decides whether a completed server call may be carried out, for days if need be.

        Asks once: a later attempt waits for the same decision, or gets it at once where it was made.
        """


class Agent(Protocol):
    """Something that can be run."""

    @property
    def info(self) -> agent_pb2.Agent:
        """Its name, and what it takes."""

    def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        """Work on one run, saying each step as it happens; ends when the run should complete.

        Raises `AgentError` where the run should fail. The engine cancels the task that iterates: the generator then
        sees CancelledError at its `await`, and must let go of all it holds before it lets the error pass.
        """

    async def close(self) -> None:
        """Let go of what all runs share, such as connections."""


class AgentError(Exception):
    """The run fails with this error, which its callers will see.

    `error.message` holds no secret and no text of another exception; `error.reason` is listed in docs/errors.md.
    """

    def __init__(self, error: run_pb2.RunError) -> None:
        super().__init__(f"{error.reason}: {error.message}")
        self.error = error
