"""What the terminal shows of a run as it goes on: the answer on standard output, all else on standard error."""

from typing import assert_never

from breezeway.v1 import event_pb2, item_pb2, run_pb2
from rich.console import Console
from rich.style import Style
from rich.text import Text

from breezeway_server.cli.printable import printable, text_of, word_of

_ANSWER = Style()
_THOUGHT = Style(dim=True, italic=True)
_TOOL = Style(color="cyan")
_QUIET = Style(dim=True)
_ALARM = Style(color="red", bold=True)


class ChatView:
    """Shows events as they come. On a terminal both outputs are one; in a pipe standard output has answers alone."""

    def __init__(self, *, waiting: str) -> None:
        """`waiting` says what the reader can do while the run waits for an approval."""
        self._waiting = waiting
        self._out = Console(highlight=False, soft_wrap=True)
        self._aside = Console(stderr=True, highlight=False, soft_wrap=True)
        self._open: Style | None = None

    def show(self, event: event_pb2.RunEvent) -> None:  # noqa: C901  one case a kind is the simplest form
        """Show what the event says."""
        match kind := event.WhichOneof("kind"):
            case "text_delta":
                self._write(event.text_delta.text, _ANSWER)
            case "refusal_delta":
                self._write(event.refusal_delta.text, _ANSWER)
            case "reasoning_delta":
                self._write(event.reasoning_delta.text, _THOUGHT)
            case "item_completed":
                self._item(event.item_completed.item)
            case "tool_progress":
                self._line(f"  … {event.tool_progress.message}", _QUIET)
            case "approval_requested":
                self._line(f"  waits for an approval; {self._waiting}", _TOOL)
            case "run_completed":
                self._end(event.run_completed.usage)
            case "run_incomplete":
                reason = word_of(item_pb2.IncompleteReason, event.run_incomplete.reason)
                self._end(event.run_incomplete.usage, f"ended early: {reason}")
            case "run_failed":
                self.alarm(f"{event.run_failed.error.message} ({event.run_failed.error.reason})")
                self._end(event.run_failed.usage)
            case "run_cancelled":
                self._end(event.run_cancelled.usage, "cancelled")
            case "tool_arguments_delta" | "item_started" | "run_queued" | "run_started":
                pass  # What they bring is shown when the item is whole.
            case "approval_resolved":
                self._line(f"  {word_of(item_pb2.ApprovalDecision, event.approval_resolved.decision)}", _TOOL)
            case "model_call_completed":
                pass  # Its usage is in the sum at the end.
            case None:
                pass  # Newer than this reader.
            case _:
                assert_never(kind)

    def cancelled(self, run: run_pb2.Run) -> None:
        """Say that a run was cancelled, and that this has settled; or that it had ended before."""
        self._end(run.usage, word_of(run_pb2.RunState, run.state))

    def alarm(self, message: str) -> None:
        """Say that something is wrong."""
        self._line(message, _ALARM)

    def note(self, message: str) -> None:
        """Say something by the way."""
        self._line(message, _QUIET)

    def _item(self, item: item_pb2.Item) -> None:
        match item.WhichOneof("kind"):
            case "function_call":
                self._line(f"→ {item.function_call.name}({item.function_call.arguments})", _TOOL)
            case "function_call_output":
                output = item.function_call_output
                self._line(f"← {text_of(output.content)}", _ALARM if output.is_error else _QUIET)
            case _:
                self._close()  # Its text was shown as it came.

    def _end(self, usage: run_pb2.Usage, how: str = "") -> None:
        tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
        self._line(f"[{how}; {tokens}]" if how else f"[{tokens}]", _QUIET)

    def _write(self, text: str, style: Style) -> None:
        if self._open is not style:
            self._close()
            self._open = style
        self._console(style).print(Text(printable(text), style), end="")

    def _line(self, text: str, style: Style) -> None:
        self._close()
        self._aside.print(Text(printable(text), style))

    def _close(self) -> None:
        if self._open is not None:
            self._console(self._open).print()
            self._open = None

    def _console(self, style: Style) -> Console:
        return self._out if style is _ANSWER else self._aside
