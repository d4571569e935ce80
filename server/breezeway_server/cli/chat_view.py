"""What a chat in the terminal shows of a run: the answer on standard output, all else on standard error."""

from typing import assert_never

from breezeway.v1 import event_pb2, item_pb2, run_pb2
from rich.console import Console
from rich.style import Style
from rich.text import Text

_ANSWER = Style()
_THOUGHT = Style(dim=True, italic=True)
_TOOL = Style(color="cyan")
_QUIET = Style(dim=True)
_ALARM = Style(color="red", bold=True)

# What a model writes must not move the cursor, ring or recolour the reader's terminal.
_UNPRINTABLE = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


class ChatView:
    """Shows events as they come. On a terminal both outputs are one; in a pipe standard output has answers alone."""

    def __init__(self) -> None:
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
                self._line("  waits for an approval; Ctrl-C cancels the run", _TOOL)
            case "run_completed":
                self._end(event.run_completed.usage)
            case "run_incomplete":
                reason = item_pb2.IncompleteReason.Name(event.run_incomplete.reason)
                words = reason.removeprefix("INCOMPLETE_REASON_").replace("_", " ").lower()
                self._end(event.run_incomplete.usage, f"ended early: {words}")
            case "run_failed":
                self.alarm(f"{event.run_failed.error.message} ({event.run_failed.error.reason})")
                self._end(event.run_failed.usage)
            case "run_cancelled":
                self._end(event.run_cancelled.usage, "cancelled")
            case "tool_arguments_delta" | "item_started" | "run_queued" | "run_started":
                pass  # What they bring is shown when the item is whole.
            case "model_call_completed" | "approval_resolved":
                pass
            case None:
                pass  # Newer than this reader.
            case _:
                assert_never(kind)

    def cancelled(self, run: run_pb2.Run) -> None:
        """Say that a run was cancelled, and that this has settled; or that it had ended before."""
        state = run_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").replace("_", " ").lower()
        self._end(run.usage, state)

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
                said = "\n".join(part.text.text or f"[{part.WhichOneof('kind')}]" for part in output.content)
                self._line(f"← {said}", _ALARM if output.is_error else _QUIET)
            case _:
                self._close()  # Its text was shown as it came.

    def _end(self, usage: run_pb2.Usage, how: str = "") -> None:
        tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
        self._line(f"[{how}; {tokens}]" if how else f"[{tokens}]", _QUIET)

    def _write(self, text: str, style: Style) -> None:
        if self._open is not style:
            self._close()
            self._open = style
        self._console(style).print(Text(text.translate(_UNPRINTABLE), style), end="")

    def _line(self, text: str, style: Style) -> None:
        self._close()
        self._aside.print(Text(text.translate(_UNPRINTABLE), style))

    def _close(self) -> None:
        if self._open is not None:
            self._console(self._open).print()
            self._open = None

    def _console(self, style: Style) -> Console:
        return self._out if style is _ANSWER else self._aside
