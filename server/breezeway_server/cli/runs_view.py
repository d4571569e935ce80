"""How runs look on standard output: for people on a terminal, plain in a pipe, and as JSON."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC

import click
from breezeway.v1 import item_pb2, run_pb2
from google.protobuf import json_format, timestamp_pb2
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from breezeway_server.cli.printable import printable, text_of, word_of

_COLOURS = {
    run_pb2.RUN_STATE_COMPLETED: "green",
    run_pb2.RUN_STATE_FAILED: "red",
    run_pb2.RUN_STATE_REQUIRES_ACTION: "yellow",
    run_pb2.RUN_STATE_IN_PROGRESS: "cyan",
}
_COLUMNS = ("state", "agent", "created", "tokens in", "out", "conversation")
_ID_LENGTH = 36


def json_line(message: Message) -> str:
    """The message as proto3 JSON in one line, with the fields that have their default, as the API over HTTP has it."""
    return json_format.MessageToJson(
        message, indent=None, always_print_fields_with_no_presence=True, ensure_ascii=False
    )


def show_list(runs: Sequence[run_pb2.Run]) -> None:
    """Print a table; in a pipe, a line a run with tabs between its cells and nothing above."""
    if not sys.stdout.isatty():
        for run in runs:
            click.echo("\t".join(_cells(run)))
        return
    if not runs:
        click.echo("There are no such runs.")
        return
    # An id that is cut off is of no use.
    table = Table(Column("run", min_width=_ID_LENGTH, no_wrap=True), *_COLUMNS, box=None, header_style="bold")
    for run in runs:
        run_id, state, *others = _cells(run)
        table.add_row(Text(run_id), Text(state, _COLOURS.get(run.state, "")), *(Text(cell) for cell in others))
    Console().print(table)


def show_run(run: run_pb2.Run) -> None:
    """Print where a run stands, what it was asked and what it said."""
    for name, value in _facts(run):
        click.echo(f"{click.style(f'{name:<13}', dim=True)} {printable(value)}")
    for item in (*run.input, *run.output):
        if said := _line(item):
            click.echo(f"\n{printable(said)}")


def _cells(run: run_pb2.Run) -> tuple[str, ...]:
    cells = (
        run.id,
        word_of(run_pb2.RunState, run.state),
        run.spec.agent,
        _time(run.create_time),
        str(run.usage.input_tokens),
        str(run.usage.output_tokens),
        run.spec.conversation_id,
    )
    # A cell never holds what parts cells and lines.
    return tuple(" ".join(printable(cell).split()) for cell in cells)


def _facts(run: run_pb2.Run) -> Iterator[tuple[str, str]]:
    yield "run", run.id
    yield "state", word_of(run_pb2.RunState, run.state)
    yield "agent", run.spec.agent
    if run.HasField("error"):
        yield "error", f"{run.error.message} ({run.error.reason})"
    if run.state == run_pb2.RUN_STATE_INCOMPLETE:
        yield "reason", word_of(item_pb2.IncompleteReason, run.incomplete_reason)
    yield "created", _time(run.create_time)
    if run.HasField("start_time"):
        yield "started", _time(run.start_time)
    if run.HasField("end_time"):
        yield "ended", _time(run.end_time)
    yield "attempt", str(run.attempt)
    yield "events", str(run.last_sequence)
    yield "tokens", f"{run.usage.input_tokens} in, {run.usage.output_tokens} out"
    if run.spec.conversation_id:
        yield "conversation", run.spec.conversation_id
    if run.spec.previous_run_id:
        yield "previous run", run.spec.previous_run_id
    for name, value in sorted(run.spec.metadata.items()):
        yield "metadata", f"{name}={value}"


def _line(item: item_pb2.Item) -> str:
    """What an item says; nothing for one that is newer than this reader, or has nothing to show."""
    match item.WhichOneof("kind"):
        case "message":
            return f"{word_of(item_pb2.Role, item.message.role)}: {text_of(item.message.content)}"
        case "reasoning":
            thoughts = "\n".join((*item.reasoning.summary, *item.reasoning.content))
            return f"thought: {thoughts}" if thoughts else ""
        case "function_call":
            return f"→ {item.function_call.name}({item.function_call.arguments})"
        case "function_call_output":
            return f"← {text_of(item.function_call_output.content)}"
        case "approval_request":
            return f"? {item.approval_request.name}({item.approval_request.arguments})"
        case "approval_response":
            return f"! {word_of(item_pb2.ApprovalDecision, item.approval_response.decision)}"
        case _:
            return ""


def _time(stamp: timestamp_pb2.Timestamp) -> str:
    """The moment in UTC, to the second: the same wherever it is read."""
    return stamp.ToDatetime(tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
