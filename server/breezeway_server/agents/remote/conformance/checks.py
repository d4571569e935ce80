"""The checks, one function each: what is asked, and what the agent may answer.

A check returns a word on what it saw. It raises `Failed` where the contract is broken, and `Skipped` where the agent
does not do what the check is about.
"""

import asyncio
import time

import msgspec
from breezeway.v1 import agent_pb2, agent_service_pb2, item_pb2
from google.protobuf.message import DecodeError

from breezeway_server.agents.remote.conformance.probe import CLIENT_TOOL, Call, Outcome, Probe, asking, said

_SETTLE_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 0.05
_BIG = 1024 * 1024
# A field 1999 that no message has: a varint, and a text.
_UNKNOWN_FIELDS = bytes([0xF8, 0x7C, 0x01]) + bytes([0xFA, 0x7C, 0x03]) + b"new"
_SERVER = item_pb2.EXECUTOR_SERVER
_CLIENT = item_pb2.EXECUTOR_CLIENT


class Failed(Exception):
    """The contract is broken; the message says how."""


class Skipped(Exception):
    """The agent does not do that; the message says what was missed."""


async def describe(probe: Probe) -> str:
    """Describe answers, in a version of the contract that is known."""
    try:
        said = await probe.describe()
    except DecodeError:
        raise Failed("Describe did not answer with a DescribeResponse") from None
    if said.protocol_version > 1:
        raise Failed(f"protocol_version {said.protocol_version} is above that of the request, 1")
    if unknown := [kind for kind in said.capabilities.content_kinds if kind not in agent_pb2.ContentKind.values()]:
        raise Failed(f"content kind {unknown[0]} is none that this version knows")
    return said.description


async def text(probe: Probe) -> str:
    """It answers in words."""
    outcome = await _complete(probe, asking("text"))
    if not outcome.text:
        raise Failed("the run completed without any text")
    return f"{len(outcome.text)} characters"


async def cancellation(probe: Probe) -> str:
    """A run that is cancelled ends at once, and the agent goes on serving others."""
    seconds = await probe.cancel(asking("cancel"))
    if seconds is None:
        raise Failed('"conformance: cancel" ended by itself before it could be cancelled; it must go on for 10 s')
    if seconds > _SETTLE_SECONDS:
        raise Failed(f"the stream ended {seconds:.1f} s after it was cancelled")
    await _complete(probe, asking("text"))
    return f"{seconds * 1000:.0f} ms"


async def cancellation_arrives(probe: Probe) -> str:
    """The handler of a cancelled run learns of it."""
    request = asking("cancel")
    await probe.cancel(request)
    started = time.monotonic()
    while (answer := (await _complete(probe, asking(f"cancelled {request.run_id}"))).text.strip()) != "yes":
        if answer != "no":
            raise Skipped('"conformance: cancelled RUN_ID" is answered neither yes nor no')
        if time.monotonic() - started > _SETTLE_SECONDS:
            raise Failed("a second after the cancellation the agent had not noticed it")
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
    return f"{(time.monotonic() - started) * 1000:.0f} ms"


async def reasoning(probe: Probe) -> str:
    """Its thoughts show, apart from its answer."""
    outcome = await _complete(probe, asking("reasoning"))
    if not outcome.reasoning:
        raise Skipped("no reasoning came")
    return f"{len(outcome.reasoning)} characters"


async def server_tools(probe: Probe) -> str:
    """A call that it carries out shows whole, with its output."""
    outcome = await _complete(probe, asking("tool"))
    calls = _calls(outcome, _SERVER)
    if not calls:
        raise Skipped("it called no tool of its own")
    for call in calls:
        _check_whole(call)
        if call.output is None:
            raise Failed(f"the call of {call.name} has no output")
    if not outcome.text:
        raise Failed("no text came after the tool")
    return ", ".join(call.name for call in calls)


async def client_tools(probe: Probe) -> str:
    """A call of the caller's tool is handed back, and its output taken in."""
    takes = (await probe.describe()).capabilities.client_tools
    if not takes:
        raise Skipped("capabilities.client_tools is false")
    request = asking("client tool", tools=[CLIENT_TOOL])
    outcome = await _complete(probe, request)
    calls = _calls(outcome, _CLIENT)
    if not calls:
        raise Failed("capabilities.client_tools is true, but it did not call the tool")
    for call in calls:
        _check_whole(call)
    answer = asking("client tool", tools=[CLIENT_TOOL])
    answer.history.extend([*request.input, *outcome.items()])
    del answer.input[:]
    part = item_pb2.ContentPart(text=item_pb2.Text(text="hello"))
    for call_id in outcome.calls:
        output = item_pb2.FunctionCallOutput(call_id=call_id, content=[part])
        answer.input.append(item_pb2.Item(status=item_pb2.ITEM_STATUS_COMPLETED, function_call_output=output))
    if not (await _complete(probe, answer)).text:
        raise Failed("no text came once the output of the call was there")
    return ", ".join(call.name for call in calls)


async def errors(probe: Probe) -> str:
    """A run that fails says why."""
    outcome = await probe.run(asking("error"))
    if outcome.fault:
        raise Failed(outcome.fault)
    if outcome.failure is None:
        if outcome.status:
            raise Failed(f"the call ended with {outcome.status}; say run_failed instead, so that callers know why")
        raise Skipped("the run completed")
    if not outcome.failure.reason or not outcome.failure.message or not outcome.failure.code:
        raise Failed("run_failed needs reason, message and code")
    return outcome.failure.reason


async def big_output(probe: Probe) -> str:
    """A MiB of text comes through."""
    outcome = await _complete(probe, asking("big"))
    if len(outcome.text) < _BIG:
        raise Skipped(f"{len(outcome.text)} characters came, not {_BIG}")
    return f"{len(outcome.text)} characters"


async def resumes_text(probe: Probe) -> str:
    """A later attempt does not say again what was said."""
    await _check_resumable(probe)
    whole = (await _complete(probe, asking("resume"))).text
    half = whole[: len(whole) // 2]
    request = asking("resume")
    request.attempt = 2
    request.output.append(said(half, item_pb2.ROLE_ASSISTANT, item_pb2.ITEM_STATUS_INCOMPLETE))
    rest = (await _complete(probe, request)).text
    if half and half in rest:
        raise Failed("the second attempt said again what the output of the first had")
    return f"{len(rest)} of {len(whole)} characters were left"


async def resumes_tools(probe: Probe) -> str:
    """A later attempt does not carry out again what has its output."""
    await _check_resumable(probe)
    first = await _complete(probe, asking("tool"))
    if not _calls(first, _SERVER):
        raise Skipped("it called no tool of its own")
    request = asking("tool")
    request.attempt = 2
    request.output.extend(first.items())
    second = await _complete(probe, request)
    done = {(call.name, call.arguments) for call in first.calls.values()}
    for call in second.calls.values():
        if (call.name, call.arguments) in done:
            raise Failed(f"the second attempt called {call.name} again, whose output it was given")
    return ", ".join(call.name for call in first.calls.values())


async def approvals(probe: Probe) -> str:
    """A call that needs leave waits for it, and is not carried out without."""
    await _check_approval(probe, granted=False)
    return await _check_approval(probe, granted=True)


async def unknown_fields(probe: Probe) -> str:
    """Fields and items that are newer than the agent change nothing for it."""
    request = asking("text")
    newer = item_pb2.Item.FromString(_UNKNOWN_FIELDS)
    newer.status = item_pb2.ITEM_STATUS_COMPLETED
    request.history.append(newer)
    outcome = await _complete(probe, request, extra=_UNKNOWN_FIELDS)
    if not outcome.text:
        raise Failed("the run completed without any text")
    return f"{len(outcome.text)} characters"


async def _complete(probe: Probe, request: agent_service_pb2.RunRequest, *, extra: bytes = b"") -> Outcome:
    outcome = await probe.run(request, extra=extra)
    if outcome.broken:
        raise Failed(outcome.broken)
    return outcome


async def _check_resumable(probe: Probe) -> None:
    if not (await probe.describe()).capabilities.resumable:
        raise Skipped("capabilities.resumable is false")


async def _check_approval(probe: Probe, *, granted: bool) -> str:
    request = asking("approval")
    outcome = await _complete(probe, request)
    if not outcome.needed:
        raise Skipped("it asked for no approval")
    request.output.extend(outcome.items())
    for call_id in outcome.needed:
        request.approvals.append(agent_service_pb2.AgentApproval(call_id=call_id, granted=granted))
    if (await _complete(probe, request)).needed:
        raise Failed("it asked for leave again for what was decided")
    return ", ".join(outcome.calls[call_id].name for call_id in outcome.needed)


def _calls(outcome: Outcome, executor: item_pb2.Executor.ValueType) -> list[Call]:
    return [call for call in outcome.calls.values() if call.executor == executor]


def _check_whole(call: Call) -> None:
    if not call.whole:
        raise Failed(f"the call of {call.name} was never completed")
    try:
        msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        raise Failed(f"the arguments of {call.name} are no JSON: {call.arguments[:80]!r}") from None
