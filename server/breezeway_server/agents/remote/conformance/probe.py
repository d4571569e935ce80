"""One probe of an agent: a run that Breezeway could have asked for, and what came of it."""

import time
import uuid
from collections.abc import Sequence

import grpc
from breezeway.v1 import agent_service_pb2, item_pb2, run_pb2
from msgspec import Struct, field

from breezeway_server.agents import steps
from breezeway_server.agents.remote.endpoints import Endpoint
from breezeway_server.agents.remote.metadata import metadata_of_agent, metadata_of_run
from breezeway_server.agents.remote.reader import BadStep, StepReader

_AGENT = "conformance"
_TENANT = "conformance"
_COMPLETED = item_pb2.ITEM_STATUS_COMPLETED
CLIENT_TOOL = run_pb2.Tool(
    function=run_pb2.FunctionTool(
        name="conformance_echo",
        description="Says the text again.",
        parameters='{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}',
    )
)


class Call(Struct):
    """A call that the agent made, and its output where there is one."""

    name: str
    executor: item_pb2.Executor.ValueType
    arguments: str = ""
    whole: bool = False
    output: steps.ToolCallOutput | None = None


class Outcome(Struct):
    """What came of a run: `fault` says how it broke the contract, `status` how its call ended where not with OK."""

    text: str = ""
    reasoning: str = ""
    calls: dict[str, Call] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)
    failure: run_pb2.RunError | None = None
    fault: str = ""
    status: str = ""

    @property
    def broken(self) -> str:
        """Why the run did not complete as it should; empty where it did."""
        if self.failure is not None:
            return f"the run failed with {self.failure.reason}: {self.failure.message}"
        return self.fault or (f"the call ended with {self.status}" if self.status else "")

    def take(self, step: steps.Step) -> None:
        """Add a step."""
        match step:
            case steps.TextDelta() | steps.RefusalDelta():
                self.text += step.text
            case steps.ReasoningDelta():
                self.reasoning += step.text
            case steps.ToolCallStarted():
                self.calls[step.call_id] = Call(step.name, step.executor)
            case steps.ToolArgumentsDelta():
                self.calls[step.call_id].arguments += step.arguments
            case steps.ToolCallCompleted():
                self.calls[step.call_id].whole = True
            case steps.ToolCallOutput() if step.call_id in self.calls:
                self.calls[step.call_id].output = step
            case _:
                pass  # Progress, usage and limits: the reader has checked them.

    def items(self) -> list[item_pb2.Item]:
        """The calls and their outputs as a run's output holds them."""
        items = []
        for call_id, call in self.calls.items():
            made = item_pb2.FunctionCall(
                call_id=call_id, name=call.name, arguments=call.arguments, executor=call.executor
            )
            items.append(item_pb2.Item(status=_COMPLETED, function_call=made))
            if call.output is not None:
                output = item_pb2.FunctionCallOutput(
                    call_id=call_id, content=call.output.content, is_error=call.output.is_error
                )
                items.append(item_pb2.Item(status=_COMPLETED, function_call_output=output))
        return items


def said(
    text: str,
    role: item_pb2.Role.ValueType = item_pb2.ROLE_USER,
    status: item_pb2.ItemStatus.ValueType = _COMPLETED,
) -> item_pb2.Item:
    """A message of one text part."""
    part = item_pb2.ContentPart(text=item_pb2.Text(text=text))
    return item_pb2.Item(status=status, message=item_pb2.Message(role=role, content=[part]))


def asking(prompt: str, *, tools: Sequence[run_pb2.Tool] = ()) -> agent_service_pb2.RunRequest:
    """A run of its own that asks for `conformance: <prompt>`."""
    return agent_service_pb2.RunRequest(
        run_id=f"run_{uuid.uuid4().hex}",
        attempt=1,
        spec=run_pb2.RunSpec(agent=_AGENT, tools=tools),
        input=[said(f"conformance: {prompt}")],
    )


class Probe:
    """Makes calls to one endpoint. No call takes longer than `deadline`, in seconds."""

    def __init__(self, endpoint: Endpoint, *, deadline: float) -> None:
        self._endpoint = endpoint
        self._deadline = deadline

    async def describe(self) -> agent_service_pb2.DescribeResponse:
        """What the agent says of itself. Raises AioRpcError and DecodeError."""
        request = agent_service_pb2.DescribeRequest(protocol_version=1).SerializeToString()
        message = await self._endpoint.describe(request, timeout=self._deadline, metadata=metadata_of_agent(_AGENT))
        return agent_service_pb2.DescribeResponse.FromString(message)

    async def run(self, request: agent_service_pb2.RunRequest, *, extra: bytes = b"") -> Outcome:
        """Follow a run to its end; `extra` is put behind the encoded request."""
        outcome = Outcome()
        reader = StepReader(request.spec, request.output)
        call = self._call(request, extra)
        try:
            async for message in call:
                for step in reader.read(message):
                    outcome.take(step)
        except BadStep as fault:
            outcome.fault = str(fault)
        except grpc.aio.AioRpcError as error:
            outcome.status = f"{error.code().name}: {error.details()}"
        finally:
            call.cancel()
        outcome.failure, outcome.needed = reader.failure, reader.needed
        return outcome

    async def cancel(self, request: agent_service_pb2.RunRequest) -> float | None:
        """Cancel a run at its first response; return how long the stream took to end, in seconds.

        None where the run ended before it could be cancelled. Raises AioRpcError.
        """
        call = self._call(request, b"")
        first = await call.read()
        started = time.monotonic()
        if first is grpc.aio.EOF or not call.cancel():
            return None
        await call.code()
        return time.monotonic() - started

    def _call(self, request: agent_service_pb2.RunRequest, extra: bytes) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        metadata = metadata_of_run(_AGENT, _TENANT, request)
        return self._endpoint.run(request.SerializeToString() + extra, timeout=self._deadline, metadata=metadata)
