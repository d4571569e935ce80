"""The agent itself: ask the model, run its tools, ask again."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, closing
from typing import Any

import grpc
from breezeway.v1 import agent_pb2, item_pb2, run_pb2

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.errors import failure
from breezeway_server.agents.llm.calls import ModelCall, ModelCaller
from breezeway_server.agents.llm.hiding import hide_in_output
from breezeway_server.agents.llm.progress import Progress, ended, progress_of
from breezeway_server.agents.llm.question import Question
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.request import base_body, tool_choice
from breezeway_server.agents.llm.truncation import History
from breezeway_server.agents.steps import ChoiceIncomplete, Step, ToolCallOutput, ToolProgress
from breezeway_server.agents.tools.base import Tool
from breezeway_server.agents.tools.running import run_tools
from breezeway_server.agents.tools.toolbox import Toolbox


class LlmAgent:
    """A model with tools. `defaults` are values by their name in the body of a call, where the caller sets none."""

    def __init__(
        self,
        info: agent_pb2.Agent,
        caller: ModelCaller,
        *,
        instructions: str,
        defaults: Mapping[str, Any],
        toolbox: Toolbox,
        redact: Redactor,
        max_iterations: int,
    ) -> None:
        self._info = info
        self._caller = caller
        self._instructions = instructions
        self._defaults = defaults
        self._toolbox = toolbox
        self._redact = redact
        self._max_iterations = max_iterations

    @property
    def info(self) -> agent_pb2.Agent:
        """Its name, and what it takes."""
        return self._info

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:  # noqa: C901 - one loop, told in one place
        """Ask the model and run its tools until it answers or asks for a tool of the caller.

        All state is `context.output`, read anew for each round, so a later attempt goes on where the log ends: calls
        that have an output are not run again, whole ones that have none are run, and cut ones are forgotten.
        """
        self._refuse_several_answers(context)
        if (reason := ended(context.output)) is not None and context.spec.sampling.n <= 1:
            if reason != item_pb2.INCOMPLETE_REASON_UNSPECIFIED:
                yield ChoiceIncomplete(reason)
            return
        _refuse_clashes(context.spec, await self._toolbox.tools())
        history = History.of(context)
        progress = progress_of(context.output)
        while True:
            # Looked up in each round: tools of other servers come and go.
            tools = await self._tools(context.spec)
            if progress.pending:
                async with aclosing(self._run_pending(context, tools, progress)) as outputs:
                    async for output in outputs:
                        yield hide_in_output(self._redact.secrets, output)
                # Each step so far is in the output, so this is what the calls of this round have come to.
                progress = progress_of(context.output)
            if (limit := self._limit(progress)) is not None:
                yield ChoiceIncomplete(limit)
            if limit is not None or progress.waits_for_caller:
                return
            # One generator and no more is on the way of a token: this is why the call is none.
            with closing(self._ask(context, history, tools.values(), progress)) as call:
                while batch := await call.read():
                    for step in batch:
                        yield step
            # Where a limit cut the answer short, its calls are incomplete, and nothing is pending.
            progress = progress_of(context.output)
            if not (progress.pending or progress.waits_for_caller):
                return

    async def _tools(self, spec: run_pb2.RunSpec) -> Mapping[str, Tool]:
        """The agent's own tools, but those whose names the caller's have."""
        callers = {tool.function.name for tool in spec.tools}
        return {name: tool for name, tool in (await self._toolbox.tools()).items() if name not in callers}

    def _run_pending(
        self, context: RunContext, tools: Mapping[str, Tool], progress: Progress
    ) -> AsyncGenerator[ToolCallOutput | ToolProgress, None]:
        """Run the agent's own calls that have no output, as many as the caller's limit still allows."""
        allowed = len(progress.pending)
        if context.spec.HasField("max_tool_calls"):
            allowed = max(0, context.spec.max_tool_calls - progress.tool_calls)
        return run_tools(tools, progress.pending[:allowed], context, max_output=self._toolbox.max_output)

    def _limit(self, progress: Progress) -> item_pb2.IncompleteReason.ValueType | None:
        """Which limit ends the run here, if any."""
        if progress.pending:
            return item_pb2.INCOMPLETE_REASON_MAX_TOOL_CALLS
        if not progress.waits_for_caller and progress.rounds >= self._max_iterations:
            return item_pb2.INCOMPLETE_REASON_MAX_ITERATIONS
        return None

    async def close(self) -> None:
        """Begin no further tool."""
        self._toolbox.close()

    def _ask(
        self,
        context: RunContext,
        history: History,
        tools: Iterable[Tool],
        progress: Progress,
    ) -> ModelCall:
        """Return the call for the model's answer; it reads less of the history where all is more than it can."""
        request = base_body(context.spec, self._defaults, tools)
        if context.spec.HasField("tool_choice"):
            request["tool_choice"] = tool_choice(context.spec.tool_choice, tools_have_run=progress.rounds > 0)
        taken = progress.call_ids | {
            item.function_call.call_id for item in (*context.history, *context.input) if item.HasField("function_call")
        }

        question = Question(
            context, history, request, instructions=self._instructions, taken=taken, redact=self._redact
        )
        return self._caller.call(question)

    def _refuse_several_answers(self, context: RunContext) -> None:
        if context.spec.sampling.n <= 1:
            return
        if self._toolbox:
            raise failure(
                "INVALID_REQUEST",
                "This agent has tools of its own and gives one answer at a time; leave n out.",
                grpc.StatusCode.INVALID_ARGUMENT,
                param="n",
            )
        if context.output:
            # The parts of several answers cannot be gone on from in one call, and asking anew would repeat them.
            raise failure(
                "SERVER_RESTARTED",
                "The server was lost while it wrote several answers at once; ask again.",
                grpc.StatusCode.UNAVAILABLE,
            )


def _refuse_clashes(spec: run_pb2.RunSpec, tools: Mapping[str, Tool]) -> None:
    for tool in spec.tools:
        if (name := tool.function.name) in tools:
            raise failure(
                "TOOL_NAME_CLASH",
                f'The agent has a tool named "{name}" of its own; give yours another name.',
                grpc.StatusCode.INVALID_ARGUMENT,
                param="tools",
            )
