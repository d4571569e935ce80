"""The demo agent: a few plain rules instead of a model, and every kind of step on request."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from datetime import datetime, tzinfo
from typing import NamedTuple
from uuid import uuid4

import grpc
import msgspec
from breezeway.v1 import agent_pb2, item_pb2, run_pb2

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.demo import words
from breezeway_server.agents.demo.asks import Ask, ToolUse, read_ask, text_of
from breezeway_server.agents.demo.calculator import CalculatorError, calculate
from breezeway_server.agents.demo.clock import Clock, ClockError
from breezeway_server.agents.errors import failure
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    ReasoningDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallOutput,
    ToolCallStarted,
)
from breezeway_server.agents.tools.base import ToolResult, text_result
from breezeway_server.agents.tools.running import denied

_WORD = re.compile(r"\s*\S+(?:\s+$)?")


class _Done(NamedTuple):
    """What the run has brought forth so far, over all attempts."""

    thought: str
    text: str
    called: bool
    own_calls: dict[str, str]
    own_results: dict[str, tuple[str, bool]]


class DemoAgent:
    """The embedded default. `pace` is the pause between two words, in seconds; `now` tells the time in a zone.

    Its answers follow from the run and from what its tools said, so a later attempt finds what is left to say by
    leaving out what the log has.
    """

    def __init__(self, info: agent_pb2.Agent, *, pace: float, now: Callable[[tzinfo], datetime] = datetime.now) -> None:
        self._info = info
        self._pace = pace
        self._clock = Clock(now)

    @property
    def info(self) -> agent_pb2.Agent:
        """Its name, and what it takes."""
        return self._info

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        """Do as asked; one word is one token.

        Raises `AgentError`: DEMO_FAILURE when that is what was asked for, INVALID_REQUEST for what needs a model.
        """
        _refuse_excess(context.spec.sampling)
        ask = read_ask(context)
        if ask.fail:
            raise _failure()
        written = 0
        async with aclosing(self._work(context, ask)) as steps:
            async for step in steps:
                written += isinstance(step, TextDelta | ReasoningDelta)
                yield step
        yield _usage(context, written)
        if ask.fail_midway:
            raise _failure()

    async def _work(self, context: RunContext, ask: Ask) -> AsyncGenerator[Step, None]:
        limit = context.spec.sampling.max_output_tokens or None
        thought = words.THOUGHT if ask.think else ""
        async for delta in self._say(thought, said=_done(context).thought, limit=limit):
            yield ReasoningDelta(delta)
        if ask.caller_tools:
            for step in _call_caller_tools(context, ask):
                yield step
            return
        async for step in self._call_own_tools(context, ask):
            yield step
            if isinstance(step, ChoiceIncomplete):
                return
        done = _done(context)
        results = [(use.name, *done.own_results[use.name]) for use in ask.own_tools]
        text = words.in_form(words.answer(ask, results), context.spec.response_format)
        text = _before_stop(text, context.spec.sampling.stop)
        left = None if limit is None else max(0, limit - _count(thought))
        async for delta in self._say(text, said=done.text, limit=left):
            yield TextDelta(delta)
        if left is not None and _count(text) > left:
            yield ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS)

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def _say(self, text: str, *, said: str, limit: int | None) -> AsyncGenerator[str, None]:
        """The words of `text` up to `limit`, each with the space before it, less what was `said` before."""
        place = 0
        for count, match in enumerate(_WORD.finditer(text)):
            if limit is not None and count >= limit:
                return
            place += len(match.group())
            if place > len(said):
                await asyncio.sleep(self._pace)
                yield match.group()

    async def _call_own_tools(self, context: RunContext, ask: Ask) -> AsyncGenerator[Step, None]:
        for count, use in enumerate(ask.own_tools):
            done = _done(context)
            if use.name in done.own_results:
                continue
            call_id = done.own_calls.get(use.name) or f"call_{uuid4().hex[:24]}"
            if use.name not in done.own_calls:
                for step in _call(call_id, use, item_pb2.EXECUTOR_SERVER):
                    await asyncio.sleep(self._pace)
                    yield step
            if context.spec.HasField("max_tool_calls") and count >= context.spec.max_tool_calls:
                yield ChoiceIncomplete(item_pb2.INCOMPLETE_REASON_MAX_TOOL_CALLS)
                return
            result = await self._carry_out(context, call_id, use)
            yield ToolCallOutput(call_id, result.content, result.is_error)

    async def _carry_out(self, context: RunContext, call_id: str, use: ToolUse) -> ToolResult:
        if use.needs_approval:
            approval = await context.approval(call_id)
            if not approval.granted:
                return denied(approval.reason)
        text, is_error = self._invoke(use)
        return text_result(text, is_error=is_error)

    def _invoke(self, use: ToolUse) -> tuple[str, bool]:
        arguments = msgspec.json.decode(use.arguments, type=dict[str, str])
        try:
            match use.name:
                case "calculator":
                    return calculate(arguments["expression"]), False
                case "clock":
                    return self._clock.tell(arguments["place"]), False
                case _:
                    return f'"{arguments["text"]}" is written, though a demo has no stamps', False
        except (CalculatorError, ClockError) as error:
            return str(error), True


def _call_caller_tools(context: RunContext, ask: Ask) -> Iterator[Step]:
    if not _done(context).called:
        for use in ask.caller_tools:
            yield from _call(f"call_{uuid4().hex[:24]}", use, item_pb2.EXECUTOR_CLIENT)


def _count(text: str) -> int:
    return len(_WORD.findall(text))


def _call(call_id: str, use: ToolUse, executor: item_pb2.Executor.ValueType) -> Iterator[Step]:
    yield ToolCallStarted(call_id, use.name, executor)
    yield ToolArgumentsDelta(call_id, use.arguments)
    yield ToolCallCompleted(call_id)


def _done(context: RunContext) -> _Done:
    names: dict[str, str] = {}
    results: dict[str, tuple[str, bool]] = {}
    thought, text = "", ""
    for item in context.output:
        match item.WhichOneof("kind"):
            case "reasoning":
                thought += "".join(item.reasoning.content)
            case "message":
                text += text_of(item.message.content)
            case "function_call" if item.status == item_pb2.ITEM_STATUS_COMPLETED:
                names[item.function_call.call_id] = item.function_call.name
            case "function_call_output":
                output = item.function_call_output
                results[names[output.call_id]] = (text_of(output.content), output.is_error)
    return _Done(thought, text, bool(names), {name: call_id for call_id, name in names.items()}, results)


def _before_stop(text: str, stops: Iterable[str]) -> str:
    ends = [end for stop in stops if stop and (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _refuse_excess(sampling: run_pb2.Sampling) -> None:
    """Refuse what only a model can give. How a model writes (temperature and its like) means nothing here."""
    for name, asked in (
        ("logprobs", sampling.logprobs),
        ("top_logprobs", sampling.top_logprobs > 0),
        ("logit_bias", bool(sampling.logit_bias)),
        ("n", sampling.n > 1),
    ):
        if asked:
            message = f"The demo agent has no model and knows no {name}; leave it out, or ask another agent."
            raise failure("INVALID_REQUEST", message, grpc.StatusCode.INVALID_ARGUMENT, param=name)


def _usage(context: RunContext, written: int) -> ModelCallCompleted:
    """In words: what was read (instructions and messages) and what was written."""
    read = len(context.spec.instructions.split())
    for item in (*context.history, *context.input):
        if item.WhichOneof("kind") == "message":
            read += len(text_of(item.message.content).split())
        elif item.WhichOneof("kind") == "function_call_output":
            read += len(text_of(item.function_call_output.content).split())
    usage = run_pb2.Usage(input_tokens=read, output_tokens=written, model_calls=1)
    return ModelCallCompleted("demo", usage, last=True)


def _failure() -> Exception:
    return failure("DEMO_FAILURE", "The demo agent failed, because it was asked to.", grpc.StatusCode.INTERNAL)
