"""The grpc agent: runs what a remote `AgentService` says."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from breezeway.v1 import agent_pb2, agent_service_pb2

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.remote import errors
from breezeway_server.agents.remote.caller import PROTOCOL_VERSION, Caller
from breezeway_server.agents.remote.capabilities import Overrides, excess
from breezeway_server.agents.remote.channel import channel_opener
from breezeway_server.agents.remote.config import RemoteConfig
from breezeway_server.agents.remote.endpoints import Endpoints
from breezeway_server.agents.remote.reader import StepReader
from breezeway_server.agents.steps import Step

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# How long a description holds: an agent that was replaced by a newer one is known for what it is soon after.
_DESCRIPTION_SECONDS = 60.0


class RemoteAgent:
    """An agent in another process, in whatever language.

    What it takes is not known before it has been asked, which its first run does: until then it counts as taking
    everything, and that run itself is refused where it asks for more.
    """

    def __init__(self, info: agent_pb2.Agent, caller: Caller, overrides: Overrides) -> None:
        """`info` without capabilities; where its description is empty, the agent's own is shown."""
        self._info = agent_pb2.Agent()
        self._info.CopyFrom(info)
        self._info.capabilities.CopyFrom(overrides.everything())
        self._described_by_operator = bool(info.description)
        self._caller = caller
        self._overrides = overrides
        self._described_until = 0.0

    @classmethod
    def build(cls, info: agent_pb2.Agent, config: RemoteConfig, *, key: str) -> "RemoteAgent":
        """The agent of that configuration, found under `key`. Opens no connection. Raises `ConfigError`."""
        opener = channel_opener(
            config.tls,
            connect_timeout=config.connect_timeout,
            max_message_bytes=config.max_message_bytes,
            key=f"{key}.tls",
        )
        endpoints = Endpoints(config.endpoints, opener, connect_timeout=config.connect_timeout)
        caller = Caller(
            info.name, endpoints, deadline=config.deadline, retries=config.retries, backoff=config.retry_backoff
        )
        return cls(info, caller, Overrides.of(config))

    @property
    def info(self) -> agent_pb2.Agent:
        """Its name, and what it takes."""
        return self._info

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        """The agent's steps as they come. Raises `AgentError` as errors.py lists them."""
        await self._check(context)
        reader = StepReader(context.spec, context.output)
        decided: list[agent_service_pb2.AgentApproval] = []
        while True:
            request = agent_service_pb2.RunRequest(
                run_id=context.run_id,
                attempt=context.attempt,
                spec=context.spec,
                history=context.history,
                input=context.input,
                output=context.output,
                approvals=decided,
            )
            async with aclosing(self._caller.run(context.tenant, request, reader)) as batches:
                async for steps in batches:
                    for step in steps:
                        yield step
            if not reader.needed:
                return
            decided += await _decisions(context, reader.needed)
            reader.again()

    async def _check(self, context: RunContext) -> None:
        """Ask the agent what it is where that is due, and whether it can take this run."""
        now = asyncio.get_running_loop().time()
        if now >= self._described_until:
            await self._describe()
            self._described_until = now + _DESCRIPTION_SECONDS
        if what := excess(self._info.capabilities, context):
            raise errors.asked_too_much(self._info.name, what)
        if context.attempt > 1 and context.output and not self._info.capabilities.resumable:
            raise errors.not_resumable(self._info.name)

    async def _describe(self) -> None:
        said = await self._caller.describe()
        if said.protocol_version > PROTOCOL_VERSION:
            _log.warning("agent_too_new", agent=self._info.name, protocol_version=said.protocol_version)
            raise errors.misbehaved(self._info.name)
        self._info.capabilities.CopyFrom(self._overrides.over(said.capabilities))
        if not self._described_by_operator:
            self._info.description = said.description

    async def close(self) -> None:
        """Close the channels."""
        await self._caller.close()


async def _decisions(context: RunContext, call_ids: list[str]) -> list[agent_service_pb2.AgentApproval]:
    """Ask for all at once, and wait for the last."""
    asked = [asyncio.ensure_future(context.approval(call_id)) for call_id in call_ids]
    try:
        # No task group: what the engine raises to end an attempt must come out as it is.
        approvals = await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    return [
        agent_service_pb2.AgentApproval(call_id=call_id, granted=approval.granted, reason=approval.reason)
        for call_id, approval in zip(call_ids, approvals, strict=True)
    ]
