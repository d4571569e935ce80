"""The python agent: an async generator function of the operator's own."""

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import grpc
import structlog
from breezeway.v1 import agent_pb2

from breezeway_server.agents.base import AgentError, RunContext
from breezeway_server.agents.errors import ConfigError, failure
from breezeway_server.agents.importing import import_attribute
from breezeway_server.agents.steps import Step, TextDelta

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Function = Callable[[RunContext], AsyncGenerator[Step | str, None]]
"""What such an agent is written as; a `str` that it yields is more of its answer."""


class PythonAgent:
    """Runs an async generator function."""

    def __init__(self, info: agent_pb2.Agent, function: Function) -> None:
        self._info = info
        self._function = function

    @classmethod
    def load(cls, info: agent_pb2.Agent, path: str, *, key: str) -> "PythonAgent":
        """The function at `path`. Raises `ConfigError`, beginning with `key`, where there is none to run."""
        function = import_attribute(path, key)
        if not inspect.isasyncgenfunction(function):
            raise ConfigError(
                f'{key}: "{path}" is not an async generator function; write it as "async def name(context): yield …".'
            )
        return cls(info, function)

    @property
    def info(self) -> agent_pb2.Agent:
        """Its name, and what it takes."""
        return self._info

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        """What the function yields, as steps. Its exceptions become AGENT_FAILED; only the log has their text."""
        try:
            async with aclosing(self._function(context)) as said:
                async for word in said:
                    if word != "":
                        yield TextDelta(word) if isinstance(word, str) else _checked(word)
        except AgentError:
            raise
        except Exception:  # noqa: BLE001 - the function is foreign code and may raise anything
            _log.exception("agent failed", agent=self._info.name, run_id=context.run_id)
            raise _failed(self._info.name) from None

    async def close(self) -> None:
        """There is nothing to let go of."""


def _checked(step: object) -> Step:
    # Annotations bind nobody at run time, and an unknown step would break the run's log.
    if not isinstance(step, Step):
        raise TypeError(f"agents yield steps and text, not {type(step).__name__}")
    return step


def _failed(name: str) -> AgentError:
    return failure(
        "AGENT_FAILED", f'Agent "{name}" failed; its operator finds why in the log.', grpc.StatusCode.INTERNAL
    )
