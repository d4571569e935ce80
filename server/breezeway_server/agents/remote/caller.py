"""Calls to a remote agent: at whose turn it is, again where nothing has begun, and over when the reader leaves."""

import asyncio
from collections.abc import AsyncGenerator

import grpc
import structlog
from breezeway.v1 import agent_service_pb2
from google.protobuf.message import DecodeError

from breezeway_server.agents.remote import errors
from breezeway_server.agents.remote.endpoints import Endpoint, Endpoints, Unreachable
from breezeway_server.agents.remote.metadata import metadata_of_agent, metadata_of_run
from breezeway_server.agents.remote.reader import BadStep, StepReader
from breezeway_server.agents.steps import Step

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PROTOCOL_VERSION = 1
_DESCRIBE_SECONDS = 5.0


class _Tries:
    """How often a call may be made again, and after which pause."""

    def __init__(self, retries: int, backoff: float) -> None:
        self._left = retries
        self._pause = backoff

    async def again(self) -> bool:
        """Wait for the next try; False where there is none."""
        if self._left == 0:
            return False
        self._left -= 1
        await asyncio.sleep(self._pause)
        self._pause *= 2
        return True


class Caller:
    """Calls the agent of that name. `deadline` of one Run and `backoff`, which doubles, are in seconds."""

    def __init__(self, agent: str, endpoints: Endpoints, *, deadline: float, retries: int, backoff: float) -> None:
        self._agent = agent
        self._endpoints = endpoints
        self._deadline = deadline
        self._retries = retries
        self._backoff = backoff

    async def describe(self) -> agent_service_pb2.DescribeResponse:
        """What the agent says of itself. Raises `AgentError`."""
        request = agent_service_pb2.DescribeRequest(protocol_version=PROTOCOL_VERSION).SerializeToString()
        metadata = metadata_of_agent(self._agent)
        tries = _Tries(self._retries, self._backoff)
        endpoint: Endpoint | None = None
        while True:
            endpoint = await self._pick(endpoint, tries)
            try:
                message = await endpoint.describe(request, timeout=_DESCRIBE_SECONDS, metadata=metadata)
                return agent_service_pb2.DescribeResponse.FromString(message)
            except grpc.aio.AioRpcError as error:
                await self._retry_or_fail(endpoint, error, tries, begun=False)
            except DecodeError:
                _log.warning(
                    "agent_misbehaved", agent=self._agent, endpoint=endpoint.address, fault="no DescribeResponse"
                )
                raise errors.misbehaved(self._agent) from None

    async def run(
        self, tenant: str, request: agent_service_pb2.RunRequest, reader: StepReader
    ) -> AsyncGenerator[list[Step], None]:
        """Yield the steps of one call of Run for a run of the tenant, a list a response. Raises `AgentError`.

        The call is cancelled when the generator is closed, or the task that iterates is cancelled.
        """
        message = request.SerializeToString()
        metadata = metadata_of_run(self._agent, tenant, request)
        tries = _Tries(self._retries, self._backoff)
        endpoint: Endpoint | None = None
        begun = False
        while True:
            endpoint = await self._pick(endpoint, tries)
            call = endpoint.run(message, timeout=self._deadline, metadata=metadata)
            try:
                async for response in call:
                    steps = reader.read(response)
                    begun = begun or bool(response)
                    yield steps
                break
            except grpc.aio.AioRpcError as error:
                if reader.failure is not None:
                    break  # The agent has said why, in better words.
                await self._retry_or_fail(endpoint, error, tries, begun=begun)
            except BadStep as fault:
                _log.warning(
                    "agent_misbehaved",
                    agent=self._agent,
                    endpoint=endpoint.address,
                    run_id=request.run_id,
                    fault=str(fault),
                )
                raise errors.misbehaved(self._agent) from None
            finally:
                call.cancel()
        if reader.failure is not None:
            raise errors.said(self._agent, reader.failure)

    async def _pick(self, last: Endpoint | None, tries: _Tries) -> Endpoint:
        while True:
            try:
                return await self._endpoints.pick(avoid=last)
            except Unreachable as error:
                if not await tries.again():
                    _log.warning("agent_unreachable", agent=self._agent, endpoints=error.addresses)
                    raise errors.unreachable(self._agent) from None

    async def _retry_or_fail(
        self, endpoint: Endpoint, error: grpc.aio.AioRpcError, tries: _Tries, *, begun: bool
    ) -> None:
        _log.warning(
            "agent_call_failed",
            agent=self._agent,
            endpoint=endpoint.address,
            status=error.code().name,
            details=error.details(),
            begun=begun,
        )
        if begun or error.code() is not grpc.StatusCode.UNAVAILABLE or not await tries.again():
            raise errors.ended(self._agent, error, begun=begun) from None

    async def close(self) -> None:
        """Close the channels. No call may be under way."""
        await self._endpoints.close()
