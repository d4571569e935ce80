"""The tools of one turn, run at once."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from breezeway.v1 import item_pb2

from breezeway_server.agents.llm.tools import Toolbox
from breezeway_server.agents.steps import ToolCallOutput


async def run_tools(toolbox: Toolbox, calls: Sequence[item_pb2.FunctionCall]) -> AsyncGenerator[ToolCallOutput, None]:
    """Yield the output of each call as it comes; all of them run at the same time.

    However it is left, no tool that can be cancelled is still at work afterwards.
    """
    tasks = {asyncio.create_task(toolbox.call(call.name, call.arguments)): call.call_id for call in calls}
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            # A set has no order; that of the calls makes equal runs equal.
            for task in (task for task in tasks if task in done):
                text, is_error = ("The tool was cancelled.", True) if task.cancelled() else task.result()
                part = item_pb2.ContentPart(text=item_pb2.Text(text=text))
                yield ToolCallOutput(tasks[task], (part,), is_error)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
