"""A run's events as the frames of a chat completion stream: pure, without I/O, clock or chance."""

from collections.abc import Sequence
from typing import assert_never

import msgspec
from breezeway.v1 import event_pb2, item_pb2, run_pb2

from breezeway_shim.dialects.chat_completions.completion import early_end, finish_reason, is_client_call, usage_of
from breezeway_shim.errors import ApiError, error_of_end, run_interrupted
from breezeway_shim.ids import chat_completion_id
from breezeway_shim.sse import DONE, data_frame, event_frame

_NO_FINISH = b',"logprobs":null,"finish_reason":null}]'
# How a chunk ends, where no usage is asked for and where it comes with the last one.
_TAIL, _TAIL_BEFORE_USAGE = b"}\n\n", b',"usage":null}\n\n'
_END, _END_BEFORE_USAGE = _NO_FINISH + _TAIL, _NO_FINISH + _TAIL_BEFORE_USAGE
_encode = msgspec.json.Encoder().encode


def error_frames(error: ApiError) -> list[bytes]:
    """The end of a stream that broke: SDKs raise at an `error`, and no [DONE] follows it."""
    return [data_frame(error.body())]


class _Choice:
    """What is known of one of the answers: no more than its frames need."""

    __slots__ = ("begun", "calls", "head", "index", "reason", "said", "text_head")

    def __init__(self, index: int, head: bytes) -> None:
        self.index = index
        self.head = head + str(index).encode() + b',"delta":'
        self.text_head = self.head + b'{"content":'
        self.begun = False
        self.said = False
        self.calls = 0
        self.reason = item_pb2.INCOMPLETE_REASON_UNSPECIFIED


# In the place of a frame that is not asked for, so that its number is not another's.
_LEFT_OUT = b""


class ChatProjection:
    """Turns events, added in order, into frames.

    `include_usage` asks for a last chunk with the usage; `tool_progress` for events of their own about the tools that
    the agent itself calls, which official SDKs do not expect. `numbered` gives each frame its number as the `id` of
    its event: frames count from 1, and one that is not asked for leaves a gap, so that a number means the same frame
    to every reader of the run. Frames up to `after` are left out.
    """

    __slots__ = (
        "_after",
        "_broken_call",
        "_call_heads",
        "_choice_of",
        "_choices",
        "_end",
        "_head",
        "_include_usage",
        "_numbered",
        "_server_calls",
        "_tail",
        "_tool_progress",
        "newest",
    )

    def __init__(
        self, *, include_usage: bool = False, tool_progress: bool = False, numbered: bool = False, after: int = 0
    ) -> None:
        self._include_usage = include_usage
        self._tool_progress = tool_progress
        # The bytes that all chunks share, from RunQueued on.
        self._head = b""
        self._tail = _TAIL_BEFORE_USAGE if include_usage else _TAIL
        self._end = _END_BEFORE_USAGE if include_usage else _END
        self._choices: dict[int, _Choice] = {}
        # Open items: the choice of each, and of the caller's calls the bytes up to the arguments.
        self._choice_of: dict[str, _Choice] = {}
        self._call_heads: dict[str, bytes] = {}
        self._server_calls: dict[str, item_pb2.FunctionCall] = {}
        self._broken_call = False
        self._numbered = numbered
        self._after = after
        self.newest = 0

    def add(self, event: event_pb2.RunEvent) -> list[bytes]:
        """Return the frames that the next event brings; `newest` is the number of the last so far, 0 before any."""
        if not self._numbered and event.HasField("text_delta"):
            # What nearly every event is, and all that there is to it.
            delta = event.text_delta
            choice = self._choice_of[delta.item_id]
            if choice.begun and not delta.logprobs:
                choice.said = True
                self.newest += 1
                return [choice.text_head + _encode(delta.text) + b"}" + self._end]
        frames = self._frames(event)
        first = self.newest + 1
        self.newest += len(frames)
        if self._numbered:
            return [
                b"id: %d\n%b" % (number, frame)
                for number, frame in enumerate(frames, first)
                if frame and number > self._after
            ]
        return frames if _LEFT_OUT not in frames else [frame for frame in frames if frame]

    def _frames(self, event: event_pb2.RunEvent) -> list[bytes]:  # noqa: C901  one case a kind is the simplest form
        match kind := event.WhichOneof("kind"):
            case "text_delta":
                return self._text(event.text_delta)
            case "tool_arguments_delta":
                head = self._call_heads.get(event.tool_arguments_delta.item_id)
                if head is None:
                    return []
                return [head + _encode(event.tool_arguments_delta.arguments) + b"}}]}" + self._end]
            case "reasoning_delta":
                return self._other_text(
                    event.reasoning_delta.item_id, b'"reasoning_content":', event.reasoning_delta.text
                )
            case "refusal_delta":
                self._choice_of[event.refusal_delta.item_id].said = True
                return self._other_text(event.refusal_delta.item_id, b'"refusal":', event.refusal_delta.text)
            case "item_started":
                return self._start(event.item_started.item)
            case "item_completed":
                return self._complete(event.item_completed.item)
            case "tool_progress":
                call = self._server_calls[event.tool_progress.item_id]
                return self._progress(call.call_id, call.name, "running", event.tool_progress.message)
            case "run_queued":
                self._queue(event)
                return []
            case "run_started" | "model_call_completed" | "approval_requested" | "approval_resolved":
                return []
            case "run_completed":
                return self._finish(event.run_completed.usage, item_pb2.INCOMPLETE_REASON_UNSPECIFIED)
            case "run_incomplete":
                return self._finish(event.run_incomplete.usage, event.run_incomplete.reason)
            case "run_failed" | "run_cancelled":
                error = error_of_end(event)
                return error_frames(error) if error else []
            case None:
                return []  # Newer than this reader.
            case _:
                assert_never(kind)

    def _queue(self, event: event_pb2.RunEvent) -> None:
        spec = event.run_queued.spec
        start = {
            "id": chat_completion_id(event.run_id),
            "object": "chat.completion.chunk",
            "created": event.create_time.seconds,
            "model": spec.agent,
        }
        self._head = b"data: " + _encode(start).removesuffix(b"}") + b',"choices":['
        for index in range(max(1, spec.sampling.n)):
            self._choice(index)

    def _choice(self, index: int) -> _Choice:
        if index not in self._choices:
            self._choices[index] = _Choice(index, self._head + b'{"index":')
        return self._choices[index]

    def _text(self, delta: event_pb2.TextDelta) -> list[bytes]:
        choice = self._choice_of[delta.item_id]
        choice.said = True
        content = choice.text_head + _encode(delta.text)
        if delta.logprobs:
            logprobs = b'},"logprobs":{"content":[' + ",".join(delta.logprobs).encode()
            frame = content + logprobs + b'],"refusal":null},"finish_reason":null}]' + self._tail
        else:
            frame = content + b"}" + self._end
        return [frame] if choice.begun else [self._begin(choice, b'""'), frame]

    def _other_text(self, item_id: str, key: bytes, text: str) -> list[bytes]:
        choice = self._choice_of[item_id]
        frame = choice.head + b"{" + key + _encode(text) + b"}" + self._end
        return [frame] if choice.begun else [self._begin(choice, b"null"), frame]

    def _begin(self, choice: _Choice, content: bytes) -> bytes:
        choice.begun = True
        return choice.head + b'{"role":"assistant","content":' + content + b',"refusal":null}' + self._end

    def _start(self, item: item_pb2.Item) -> list[bytes]:
        choice = self._choice_of[item.id] = self._choice(item.choice_index)
        if item.WhichOneof("kind") != "function_call":
            return []
        call = item.function_call
        if not is_client_call(item):
            self._server_calls[item.id] = call
            return self._progress(call.call_id, call.name, "started")
        frames = [] if choice.begun else [self._begin(choice, b"null")]
        position = b'{"tool_calls":[{"index":' + str(choice.calls).encode()
        choice.calls += 1
        self._call_heads[item.id] = choice.head + position + b',"function":{"arguments":'
        first = b',"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]}'
        frames.append(choice.head + position + first % (_encode(call.call_id), _encode(call.name)) + self._end)
        return frames

    def _complete(self, item: item_pb2.Item) -> list[bytes]:
        choice = self._choice_of.pop(item.id)
        choice.reason = early_end([item]) or choice.reason
        if self._call_heads.pop(item.id, None) and item.incomplete_reason == item_pb2.INCOMPLETE_REASON_INTERRUPTED:
            self._broken_call = True
        if item.HasField("function_call_output"):
            output = item.function_call_output
            names = [call.name for call in self._server_calls.values() if call.call_id == output.call_id]
            return self._progress(output.call_id, "".join(names), "failed" if output.is_error else "completed")
        return []

    def _progress(self, call_id: str, tool: str, status: str, message: str | None = None) -> list[bytes]:
        if not self._tool_progress:
            return [_LEFT_OUT]
        return [
            event_frame(
                "tool_progress", _encode({"call_id": call_id, "tool": tool, "status": status, "message": message})
            )
        ]

    def _finish(self, usage: run_pb2.Usage, reason: item_pb2.IncompleteReason.ValueType) -> list[bytes]:
        if self._broken_call:
            # A chunk cannot be taken back, and half a call beside a whole one would be carried out as two.
            message = "The server was lost while it wrote a tool call. Please send the request again."
            return error_frames(run_interrupted(message))
        choices = [self._choices[index] for index in sorted(self._choices)]
        reasons: Sequence[item_pb2.IncompleteReason.ValueType] = [choice.reason for choice in choices]
        if not any(reasons):
            reasons = [reason] * len(choices)
        frames = []
        for choice, why in zip(choices, reasons, strict=True):
            if not choice.begun:
                frames.append(self._begin(choice, b'""'))
            elif not (choice.said or choice.calls):
                # It only thought: content that began as null ends as the empty string that the whole answer has.
                frames.append(choice.head + b'{"content":""}' + self._end)
            finish = finish_reason(why, called=choice.calls > 0).encode()
            frames.append(choice.head + b'{},"logprobs":null,"finish_reason":"' + finish + b'"}]' + self._tail)
        last = self._head + b'],"usage":' + _encode(usage_of(usage)) + b"}\n\n" if self._include_usage else _LEFT_OUT
        return [*frames, last, DONE]
