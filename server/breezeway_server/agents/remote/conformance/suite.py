"""The suite: runs every check against one address and says how each came out."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from enum import StrEnum

import grpc
from msgspec import Struct

from breezeway_server.agents.remote.channel import OpenChannel
from breezeway_server.agents.remote.conformance import checks
from breezeway_server.agents.remote.conformance.probe import Probe
from breezeway_server.agents.remote.endpoints import Endpoints, Unreachable

_Check = Callable[[Probe], Awaitable[str]]

# By the name that people see.
_CHECKS: dict[str, _Check] = {
    "describe": checks.describe,
    "text": checks.text,
    "cancellation": checks.cancellation,
    "cancellation arrives": checks.cancellation_arrives,
    "reasoning": checks.reasoning,
    "server tools": checks.server_tools,
    "client tools": checks.client_tools,
    "errors": checks.errors,
    "big output": checks.big_output,
    "resumes text": checks.resumes_text,
    "resumes tools": checks.resumes_tools,
    "approvals": checks.approvals,
    "unknown fields": checks.unknown_fields,
}


class Verdict(StrEnum):
    """How a check came out."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Result(Struct, frozen=True):
    """One check; `detail` says what was seen, in a line."""

    name: str
    verdict: Verdict
    detail: str
    seconds: float


async def check_agent(
    address: str, open_channel: OpenChannel, *, connect_timeout: float, deadline: float
) -> AsyncGenerator[Result, None]:
    """Run all checks one after the other, and yield each result as it comes. Times are in seconds, `deadline` a call's.

    Raises `Unreachable`.
    """
    endpoints = Endpoints([address], open_channel, connect_timeout=connect_timeout)
    try:
        probe = Probe(await endpoints.pick(), deadline=deadline)
        for name, check in _CHECKS.items():
            started = time.monotonic()
            verdict, detail = await _outcome(check, probe)
            yield Result(name, verdict, detail, time.monotonic() - started)
    finally:
        await endpoints.close()


async def _outcome(check: _Check, probe: Probe) -> tuple[Verdict, str]:
    try:
        return Verdict.PASSED, await check(probe)
    except checks.Failed as failed:
        return Verdict.FAILED, str(failed)
    except checks.Skipped as skipped:
        return Verdict.SKIPPED, str(skipped)
    except grpc.aio.AioRpcError as error:
        return Verdict.FAILED, f"{error.code().name}: {error.details()}"


__all__ = ["Result", "Unreachable", "Verdict", "check_agent"]
