"""From what a remote agent sends to steps: decoded, and checked to be such as the engine can take in."""

from collections.abc import Iterable
from typing import assert_never

from breezeway.v1 import agent_service_pb2, item_pb2, run_pb2
from google.protobuf.message import DecodeError
from msgspec import Struct

from breezeway_server.agents import steps

_SERVER = item_pb2.EXECUTOR_SERVER
_CLIENT = item_pb2.EXECUTOR_CLIENT


class BadStep(Exception):
    """The agent said something that cannot be; the message says what, for its developer."""


class _Call(Struct):
    executor: item_pb2.Executor.ValueType
    open: bool = True
    answered: bool = False


class StepReader:
    """Reads the responses of one run, over all calls of its attempt.

    After `run_failed` its error is in `failure`, after `approval_needed` the calls in `needed`.
    """

    def __init__(self, spec: run_pb2.RunSpec, output: Iterable[item_pb2.Item]) -> None:
        """`output` is what the run has completed before."""
        self.failure: run_pb2.RunError | None = None
        self.needed: list[str] = []
        self._choices = max(1, spec.sampling.n)
        self._tools = {tool.function.name for tool in spec.tools}
        self._thoughts: dict[tuple[int, bool], int] = {}
        self._calls: dict[str, _Call] = {}
        for item in output:
            if item.HasField("function_call"):
                # One that an earlier attempt left incomplete stands for nothing but its id, which is taken.
                executor = _SERVER if item.status == item_pb2.ITEM_STATUS_COMPLETED else _CLIENT
                self._calls[item.function_call.call_id] = _Call(executor, open=False)
            elif item.HasField("function_call_output"):
                self._calls[item.function_call_output.call_id].answered = True

    def again(self) -> None:
        """Another call of Run goes on from here."""
        self.needed = []

    def read(self, message: bytes) -> list[steps.Step]:
        """The steps of one response. Raises `BadStep`."""
        try:
            response = agent_service_pb2.RunResponse.FromString(message)
        except DecodeError:
            raise BadStep("a response is no RunResponse") from None
        return [step for said in response.steps if (step := self._step(said)) is not None]

    def _step(self, said: agent_service_pb2.AgentStep) -> steps.Step | None:  # noqa: C901 - one case a step
        if self.failure is not None or self.needed:
            raise BadStep("a step came after the last")
        match kind := said.WhichOneof("kind"):
            case "text_delta":
                text = said.text_delta
                self._speak(text.choice_index)
                return steps.TextDelta(text.text, text.choice_index, tuple(text.logprobs))
            case "tool_arguments_delta":
                delta = said.tool_arguments_delta
                self._open_call(delta.call_id)
                return steps.ToolArgumentsDelta(delta.call_id, delta.arguments)
            case "reasoning_delta":
                return self._reasoning(said.reasoning_delta)
            case "refusal_delta":
                self._speak(said.refusal_delta.choice_index)
                return steps.RefusalDelta(said.refusal_delta.text, said.refusal_delta.choice_index)
            case "tool_call_started":
                return self._start(said.tool_call_started)
            case "tool_call_completed":
                self._open_call(said.tool_call_completed.call_id).open = False
                return steps.ToolCallCompleted(said.tool_call_completed.call_id)
            case "tool_progress":
                self._server_call(said.tool_progress.call_id)
                return steps.ToolProgress(said.tool_progress.call_id, said.tool_progress.message)
            case "tool_call_output":
                return self._output(said.tool_call_output)
            case "model_call_completed":
                return self._usage(said.model_call_completed)
            case "choice_incomplete":
                cut = said.choice_incomplete
                self._speak(cut.choice_index)
                return steps.ChoiceIncomplete(cut.reason, cut.choice_index)
            case "run_failed":
                self.failure = said.run_failed
            case "approval_needed":
                self.needed = self._waiting(said.approval_needed)
            case None:
                pass  # A kind that is newer than this reader.
            case _:
                assert_never(kind)
        return None

    def _speak(self, choice_index: int) -> None:
        if choice_index >= self._choices:
            raise BadStep(f"choice_index {choice_index} is not below Sampling.n, {self._choices}")
        if self._thoughts:
            # Whatever else is said closes the thoughts.
            self._thoughts.clear()

    def _reasoning(self, delta: agent_service_pb2.AgentReasoningDelta) -> steps.ReasoningDelta:
        if delta.choice_index >= self._choices:
            self._speak(delta.choice_index)
        place = (delta.choice_index, delta.summary)
        parts = self._thoughts.get(place, 0)
        if delta.text:
            if not parts - 1 <= delta.part_index <= parts:
                raise BadStep(f"part_index {delta.part_index} is neither the newest part nor the next, {parts}")
            self._thoughts[place] = delta.part_index + 1
        return steps.ReasoningDelta(delta.text, delta.summary, delta.part_index, delta.choice_index)

    def _start(self, call: agent_service_pb2.AgentToolCallStarted) -> steps.ToolCallStarted:
        self._speak(call.choice_index)
        if not call.call_id or not call.name:
            raise BadStep("tool_call_started needs call_id and name")
        if call.call_id in self._calls:
            raise BadStep(f"call {call.call_id!r} was begun before")
        if call.executor not in {_SERVER, _CLIENT}:
            raise BadStep(f"call {call.call_id!r} has no executor")
        if call.executor == _CLIENT and call.name not in self._tools:
            raise BadStep(f"call {call.call_id!r} is the caller's, who has no tool {call.name!r}")
        self._calls[call.call_id] = _Call(call.executor)
        return steps.ToolCallStarted(call.call_id, call.name, call.executor, call.choice_index)

    def _output(self, said: agent_service_pb2.AgentToolCallOutput) -> steps.ToolCallOutput:
        self._whole_call(said.call_id).answered = True
        self._thoughts.clear()
        return steps.ToolCallOutput(said.call_id, tuple(said.content), said.is_error)

    def _usage(self, said: agent_service_pb2.AgentModelCallCompleted) -> steps.ModelCallCompleted:
        if any(value < 0 for _, value in said.usage.ListFields()):
            raise BadStep("a usage is negative")
        return steps.ModelCallCompleted(said.model, said.usage, said.last)

    def _waiting(self, said: agent_service_pb2.AgentApprovalNeeded) -> list[str]:
        for call_id in said.call_ids:
            self._whole_call(call_id)
        if not said.call_ids:
            raise BadStep("approval_needed names no call")
        return list(dict.fromkeys(said.call_ids))

    def _call(self, call_id: str) -> _Call:
        call = self._calls.get(call_id)
        if call is None:
            raise BadStep(f"call {call_id!r} was never begun")
        return call

    def _open_call(self, call_id: str) -> _Call:
        call = self._call(call_id)
        if not call.open:
            raise BadStep(f"call {call_id!r} is whole already")
        return call

    def _server_call(self, call_id: str) -> _Call:
        call = self._call(call_id)
        if call.executor != _SERVER:
            raise BadStep(f"call {call_id!r} is not the agent's to carry out")
        return call

    def _whole_call(self, call_id: str) -> _Call:
        call = self._server_call(call_id)
        if call.open:
            raise BadStep(f"call {call_id!r} is not whole yet")
        if call.answered:
            raise BadStep(f"call {call_id!r} has its output already")
        return call
