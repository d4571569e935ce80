"""The calls of one turn, carried out at once."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from breezeway.telemetry.traces import Kind, current_span
from breezeway.v1 import item_pb2

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.steps import ToolCallOutput, ToolProgress
from breezeway_server.agents.tools.base import Report, Tool, ToolResult, bounded, text_result


async def run_tools(
    tools: Mapping[str, Tool], calls: Sequence[item_pb2.FunctionCall], context: RunContext, *, max_output: int
) -> AsyncGenerator[ToolCallOutput | ToolProgress, None]:
    """Yield the output of each call as it comes, and word of its progress; all calls run at the same time.

    A call that needs approval waits for it while the others run. However the generator is left, no call that can be
    cancelled is still at work afterwards.
    """
    news = asyncio.Event()
    progress: dict[str, str] = {}

    def reporter(call_id: str) -> Report:
        def report(line: str) -> None:
            progress[call_id] = line
            news.set()

        return report

    waiting: dict[asyncio.Task[ToolResult], str] = {}
    for call in calls:
        task = asyncio.create_task(
            _carry_out(tools.get(call.name), call, context, reporter(call.call_id)), name=f"tool {call.call_id}"
        )
        task.add_done_callback(lambda _: news.set())
        waiting[task] = call.call_id
    try:
        while waiting:
            await news.wait()
            news.clear()
            for call_id in [call_id for call_id in progress if call_id in waiting.values()]:
                yield ToolProgress(call_id, progress.pop(call_id))
            for task in [task for task in waiting if task.done()]:
                call_id = waiting.pop(task)
                result = text_result("The tool was cancelled.", is_error=True) if task.cancelled() else task.result()
                result = bounded(result, max_output)
                yield ToolCallOutput(call_id, result.content, result.is_error)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _carry_out(tool: Tool | None, call: item_pb2.FunctionCall, context: RunContext, report: Report) -> ToolResult:
    if tool is None:
        return text_result(f'There is no tool named "{call.name}".', is_error=True)
    if tool.needs_approval:
        approval = await context.approval(call.call_id)
        if not approval.granted:
            return denied(approval.reason)
    span = current_span().begin(
        f"execute_tool {call.name}",
        Kind.INTERNAL,
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.call_id,
            "gen_ai.tool.type": "function",
        },
    )
    # Each call has a task of its own.
    span.enter()
    error = "cancelled"
    try:
        result = await tool.call(call.arguments, report)
        error = "tool_error" if result.is_error else ""
    finally:
        span.end(error)
    return result


def denied(reason: str) -> ToolResult:
    """What the model is told of a call that somebody denied, in the decider's words where there are any."""
    return text_result(f"The call was denied: {reason}" if reason else "The call was denied.", is_error=True)
