"""A run for agents under test: it takes in steps as the engine does, and refuses those that are out of order."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self

from breezeway.v1 import item_pb2, run_pb2
from breezeway_server.agents.base import Agent, Approval
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    ReasoningDelta,
    RefusalDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallOutput,
    ToolCallStarted,
    ToolProgress,
)

COMPLETED = item_pb2.ITEM_STATUS_COMPLETED
INCOMPLETE = item_pb2.ITEM_STATUS_INCOMPLETE


def said(text: str, role: item_pb2.Role.ValueType = item_pb2.ROLE_USER) -> item_pb2.Item:
    """A message item of one text part."""
    part = item_pb2.ContentPart(text=item_pb2.Text(text=text))
    return item_pb2.Item(status=COMPLETED, message=item_pb2.Message(role=role, content=[part]))


def called(
    call_id: str,
    name: str,
    arguments: str = "{}",
    *,
    executor: item_pb2.Executor.ValueType = item_pb2.EXECUTOR_CLIENT,
    status: item_pb2.ItemStatus.ValueType = COMPLETED,
) -> item_pb2.Item:
    call = item_pb2.FunctionCall(call_id=call_id, name=name, arguments=arguments, executor=executor)
    return item_pb2.Item(status=status, function_call=call)


def returned(call_id: str, text: str, *, is_error: bool = False) -> item_pb2.Item:
    part = item_pb2.ContentPart(text=item_pb2.Text(text=text))
    output = item_pb2.FunctionCallOutput(call_id=call_id, content=[part], is_error=is_error)
    return item_pb2.Item(status=COMPLETED, function_call_output=output)


def function_tool(name: str, parameters: str = "") -> run_pb2.Tool:
    return run_pb2.Tool(function=run_pb2.FunctionTool(name=name, parameters=parameters))


def text_of(items: Sequence[item_pb2.Item]) -> str:
    """The text of all messages."""
    return "".join(part.text.text for item in items for part in item.message.content)


@dataclass
class FakeRun:
    """A RunContext. `take` is the engine's side of a `yield`; items are completed as `steps` says they are."""

    input: list[item_pb2.Item] = field(default_factory=list)
    spec: run_pb2.RunSpec = field(default_factory=run_pb2.RunSpec)
    history: list[item_pb2.Item] = field(default_factory=list)
    run_id: str = "run_01990000000070008000000000000001"
    attempt: int = 1
    steps: list[Step] = field(default_factory=list)
    items: list[item_pb2.Item] = field(default_factory=list)
    incomplete: list[ChoiceIncomplete] = field(default_factory=list)
    approvals: dict[str, asyncio.Future[Approval]] = field(default_factory=dict)
    """What was asked for, by call id, and what was decided."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once any approval is asked for."""
    decide: Approval | None = None
    """What is decided at once about all that is asked for; where None, whoever sets the future decides."""
    tenant: str = "default"
    _speaking: dict[int, item_pb2.Item] = field(default_factory=dict)
    _calls: dict[str, item_pb2.Item] = field(default_factory=dict)

    @classmethod
    def asking(cls, text: str, spec: run_pb2.RunSpec | None = None) -> Self:
        """A run whose input is one user message."""
        return cls(input=[said(text)], spec=spec or run_pb2.RunSpec())

    @property
    def output(self) -> list[item_pb2.Item]:
        """Completed and incomplete items, in the order in which they began."""
        return [item for item in self.items if item.status in {COMPLETED, INCOMPLETE}]

    @property
    def usage(self) -> run_pb2.Usage:
        """The sum over the model calls."""
        total = run_pb2.Usage()
        for step in self.steps:
            if isinstance(step, ModelCallCompleted):
                total.input_tokens += step.usage.input_tokens
                total.output_tokens += step.usage.output_tokens
                total.model_calls += step.usage.model_calls
        return total

    @property
    def text(self) -> str:
        """All text that was streamed."""
        return "".join(step.text for step in self.steps if isinstance(step, TextDelta))

    async def approval(self, call_id: str) -> Approval:
        """Ask once, and wait for the decision."""
        if call_id not in self.approvals:
            call = next(item for item in self.items if item.function_call.call_id == call_id)
            assert call.status == COMPLETED, "only whole calls can be asked for"
            assert call.function_call.executor == item_pb2.EXECUTOR_SERVER, "the caller's calls are the caller's"
            request = item_pb2.ApprovalRequest(
                call_id=call_id, name=call.function_call.name, arguments=call.function_call.arguments
            )
            self.items.append(item_pb2.Item(status=COMPLETED, approval_request=request))
            self.approvals[call_id] = asyncio.get_running_loop().create_future()
            if self.decide is not None:
                self.approvals[call_id].set_result(self.decide)
            self.asked.set()
        return await asyncio.shield(self.approvals[call_id])

    async def follow(self, agent: Agent) -> AsyncGenerator[Step, None]:
        """Run the agent, taking in each of its steps before giving it out."""
        async with aclosing(agent.run(self)) as steps:
            async for step in steps:
                self.take(step)
                yield step
        self.close()

    async def work(self, agent: Agent) -> Self:
        """Run the agent to its end."""
        async for _ in self.follow(agent):
            pass
        return self

    def next_attempt(self) -> Self:
        """The same run after a crash: what was open is incomplete, and nothing else is lost."""
        self._close_all(INCOMPLETE, item_pb2.INCOMPLETE_REASON_INTERRUPTED)
        return type(self)(
            self.input,
            self.spec,
            self.history,
            self.run_id,
            self.attempt + 1,
            items=list(self.items),
            approvals=self.approvals,
        )

    def close(self) -> None:
        """The end of the agent closes what is left."""
        assert not [item for item in self._calls.values() if item.status == item_pb2.ITEM_STATUS_IN_PROGRESS]
        self._close_all(COMPLETED)

    def take(self, step: Step) -> None:
        self.steps.append(step)
        match step:
            case TextDelta(text, index):
                self._part(index, "text").text.text += text
            case RefusalDelta(text, index):
                self._part(index, "refusal").refusal.text += text
            case ReasoningDelta():
                self._think(step)
            case ToolCallStarted():
                self._start_call(step)
            case ToolArgumentsDelta(call_id, arguments):
                self._open_call(call_id).function_call.arguments += arguments
            case ToolCallCompleted(call_id):
                self._open_call(call_id).status = COMPLETED
            case ToolCallOutput():
                self._put_output(step)
            case ChoiceIncomplete():
                self.incomplete.append(step)
                self._close_all(INCOMPLETE, step.reason, step.choice_index)
            case ModelCallCompleted() | ToolProgress():
                pass

    def _speak(self, index: int, wanted: Callable[[item_pb2.Item], bool], new: item_pb2.Item) -> item_pb2.Item:
        assert index not in {step.choice_index for step in self.incomplete}, "the choice has ended"
        open_item = self._speaking.get(index)
        if open_item is not None and wanted(open_item):
            return open_item
        self._hush(index)
        new.status, new.choice_index = item_pb2.ITEM_STATUS_IN_PROGRESS, index
        self._speaking[index] = new
        self.items.append(new)
        return new

    def _part(self, index: int, kind: str) -> item_pb2.ContentPart:
        message = item_pb2.Message(role=item_pb2.ROLE_ASSISTANT)
        item = self._speak(index, lambda item: item.HasField("message"), item_pb2.Item(message=message))
        content = item.message.content
        if not content or content[-1].WhichOneof("kind") != kind:
            empty = item_pb2.ContentPart()
            if kind == "text":
                empty.text.SetInParent()
            else:
                empty.refusal.SetInParent()
            content.append(empty)
        return content[-1]

    def _think(self, step: ReasoningDelta) -> None:
        new = item_pb2.Item(reasoning=item_pb2.Reasoning())
        item = self._speak(step.choice_index, lambda item: item.HasField("reasoning"), new)
        parts = item.reasoning.summary if step.summary else item.reasoning.content
        while len(parts) <= step.part_index:
            parts.append("")
        parts[step.part_index] += step.text

    def _start_call(self, step: ToolCallStarted) -> None:
        assert step.call_id not in self._calls, "a call id is unique in its run"
        assert step.name, "a call has a name"
        self._hush(step.choice_index)
        item = called(step.call_id, step.name, "", executor=step.executor, status=item_pb2.ITEM_STATUS_IN_PROGRESS)
        item.choice_index = step.choice_index
        self._calls[step.call_id] = item
        self.items.append(item)

    def _open_call(self, call_id: str) -> item_pb2.Item:
        item = self._calls[call_id]
        assert item.status == item_pb2.ITEM_STATUS_IN_PROGRESS, "the call is open"
        return item

    def _put_output(self, step: ToolCallOutput) -> None:
        calls = {item.function_call.call_id: item for item in self.items if item.HasField("function_call")}
        call = calls[step.call_id]
        assert call.status == COMPLETED, "only whole calls have an output"
        assert call.function_call.executor == item_pb2.EXECUTOR_SERVER, "the caller's calls are the caller's"
        before = {item.function_call_output.call_id for item in self.items if item.HasField("function_call_output")}
        assert step.call_id not in before, "a call has one output"
        output = item_pb2.FunctionCallOutput(call_id=step.call_id, content=step.content, is_error=step.is_error)
        self.items.append(item_pb2.Item(status=COMPLETED, function_call_output=output))

    def _hush(self, index: int) -> None:
        item = self._speaking.pop(index, None)
        if item is not None:
            item.status = COMPLETED

    def _close_all(
        self,
        status: item_pb2.ItemStatus.ValueType,
        reason: item_pb2.IncompleteReason.ValueType = item_pb2.INCOMPLETE_REASON_UNSPECIFIED,
        choice_index: int | None = None,
    ) -> None:
        for item in self.items:
            if item.status != item_pb2.ITEM_STATUS_IN_PROGRESS or choice_index not in {None, item.choice_index}:
                continue
            item.status, item.incomplete_reason = status, reason
            self._speaking.pop(item.choice_index, None)
