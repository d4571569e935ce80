"""A program that speaks MCP over its standard input and output.

In place of the package's own transport, whose time grows with the square of a message's length: one result of 20 MB
would hold up the whole server for a minute. Here a message is read in one pass, and has a limit.
"""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

MAX_MESSAGE = 8 * 1024 * 1024
"""Bytes. A server that sends more in one message is cut off, and begun anew."""

_PATIENCE = 2.0
_CHUNK = 64 * 1024

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

OnEnd = Callable[[], None]
Received = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Received], MemoryObjectSendStream[SessionMessage]]


@asynccontextmanager
async def run_program(
    command: str, args: Sequence[str], *, environ: Mapping[str, str], directory: str | None, on_end: OnEnd
) -> AsyncIterator[Streams]:
    """The streams of a program that runs for the length of the block; `on_end` is called where it ends before.

    `environ` is added to the little that every program needs. What the program says on its standard error is for who
    reads ours. It gets its own process group, which is asked to end and then made to. Raises `OSError` where there is
    no such program.
    """
    process = await asyncio.create_subprocess_exec(
        command,
        *args,
        stdin=PIPE,
        stdout=PIPE,
        env={**get_default_environment(), **environ},
        cwd=directory,
        start_new_session=True,
        limit=MAX_MESSAGE,
    )
    read_in, read = anyio.create_memory_object_stream[Received](0)
    write, write_out = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_read(process, read_in, on_end), name=f"read {command}"),
        asyncio.create_task(_write(process, write_out, on_end), name=f"write {command}"),
    ]
    try:
        yield read, write
    finally:
        read.close()
        write.close()
        await _stop(process)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        read_in.close()
        write_out.close()


async def _read(process: Process, messages: MemoryObjectSendStream[Received], on_end: OnEnd) -> None:
    assert process.stdout is not None, "the program was begun with a pipe"
    with messages, suppress(anyio.BrokenResourceError):
        try:
            while (line := await process.stdout.readline()).endswith(b"\n"):
                await messages.send(_parse(line))
        except ValueError:
            # What `readline` raises where a line is longer than the limit.
            _log.warning("MCP server said too much at once", limit=MAX_MESSAGE)
        finally:
            on_end()
    # A program that cannot get rid of its output would not end.
    while await process.stdout.read(_CHUNK):
        pass


async def _write(process: Process, messages: MemoryObjectReceiveStream[SessionMessage], on_end: OnEnd) -> None:
    assert process.stdin is not None, "the program was begun with a pipe"
    try:
        async for message in messages:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(text.encode() + b"\n")
            await process.stdin.drain()
    except OSError:
        on_end()


def _parse(line: bytes) -> Received:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        # Programs print what they should not; the session passes over it.
        return error


async def _stop(process: Process) -> None:
    assert process.stdin is not None, "the program was begun with a pipe"
    process.stdin.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await process.wait()
                return
    _log.error("MCP server cannot be ended", pid=process.pid)
