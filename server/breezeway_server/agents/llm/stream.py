"""One model call's stream, folded: chunks of a chat completion in, steps out. No I/O."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from uuid import uuid4

import msgspec
from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.agents.llm import errors
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.wire import Choice, Chunk, ErrorBody, Logprobs, ToolCallPiece, decode_error
from breezeway_server.agents.steps import (
    ChoiceIncomplete,
    ModelCallCompleted,
    ReasoningDelta,
    RefusalDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallStarted,
)

_LIMITS = {
    "length": item_pb2.INCOMPLETE_REASON_MAX_OUTPUT_TOKENS,
    "content_filter": item_pb2.INCOMPLETE_REASON_CONTENT_FILTER,
}
_DECODER = msgspec.json.Decoder(Chunk)
# An empty set is of no small size, and would be there for each stream that is open.
_NO_IDS: AbstractSet[str] = frozenset()


class _Call:
    """A tool call that the model is writing; it is told of once its name is known."""

    def __init__(self, choice_index: int, upstream_id: str) -> None:
        self.choice_index = choice_index
        self.upstream_id = upstream_id
        self.call_id = ""
        self.early = ""  # arguments that came before the name


class ModelStream:
    """Folds the events of one model call.

    `executor_of` says who carries a tool out, by its name. `taken` holds the call ids that the run has already:
    where the upstream gives one of these, or none, another is made, because an id ties a call to its output.
    """

    __slots__ = (
        "_answering_model",
        "_calls",
        "_ended",
        "_executor_of",
        "_model",
        "_only_ours",
        "_redact",
        "_taken",
        "_usage",
        "_whole",
        "done",
        "secrets",
    )

    def __init__(
        self,
        model: str,
        *,
        executor_of: Callable[[str], item_pb2.Executor.ValueType],
        taken: AbstractSet[str],
        redact: Redactor,
    ) -> None:
        self._model = model
        self._executor_of = executor_of
        self._taken = taken or _NO_IDS
        self._redact = redact
        self.secrets = redact.secrets
        self._answering_model = model
        self._usage: run_pb2.Usage | None = None
        self._calls: dict[tuple[int, int], _Call] = {}
        # By choice that has begun: whether it has ended.
        self._ended: dict[int, bool] = {}
        self._whole = False
        # Whether the calls of the answer are all for the agent to carry out; None where there is no call.
        self._only_ours: bool | None = None
        self.done = False
        """The upstream has said that nothing more comes."""

    def feed(self, events: Iterable[bytes], steps: list[Step]) -> None:
        """Append the steps that the data of these events stands for.

        Raises `UpstreamError`; the steps before the fault are in the list by then.
        """
        for data in events:
            if data == b"[DONE]":
                self.done = True
            elif data:
                chunk = self._decode(data)
                if chunk.model:
                    self._answering_model = chunk.model
                if chunk.usage is not None:
                    self._usage = chunk.usage.to_usage()
                for choice in chunk.choices or ():
                    self._take(choice, steps)

    def finish(self) -> list[Step]:
        """What is left to say at the end of the stream. Raises `UpstreamError` where the end came too early."""
        if not self._ended:
            raise errors.malformed(self._model, "no answer at all") if self.done else errors.cut(self._model)
        unfinished = [index for index, ended in self._ended.items() if not ended]
        if unfinished and not self.done:
            raise errors.cut(self._model)
        self._whole = True
        return [step for index in sorted(unfinished) for step in self._complete_calls(index)]

    def usage_step(self) -> ModelCallCompleted | None:
        """The call's usage as last reported, or None where it was not."""
        if self._usage is None:
            return None
        # The agent asks again where an answer did not come whole, and where it has nothing but tools of its own to run.
        last = self._whole and not self._only_ours
        return ModelCallCompleted(self.secrets.hide(self._answering_model), self._usage, last)

    def _decode(self, data: bytes) -> Chunk:
        try:
            chunk = _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            what = (
                "events of another form" if isinstance(error, msgspec.ValidationError) else "events that are not JSON"
            )
            raise errors.malformed(self._model, what) from None
        if chunk.error is not None:
            raise errors.in_stream(self._model, decode_error(data), self._redact)
        return chunk

    def _take(self, choice: Choice, steps: list[Step]) -> None:
        index = choice.index
        ended = self._ended.get(index)
        if ended:
            # Some upstreams append a last chunk with filter results; nothing of the answer comes after its end.
            return
        if ended is None:
            self._ended[index] = False
        delta = choice.delta
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                steps.append(ReasoningDelta(thought, choice_index=index))
            if delta.content:
                if choice.logprobs is None:
                    steps.append(TextDelta(delta.content, index))
                else:
                    steps.append(TextDelta(delta.content, index, _tokens(choice.logprobs)))
            if delta.refusal:
                steps.append(RefusalDelta(delta.refusal, index))
            for piece in delta.tool_calls or ():
                self._take_piece(index, piece, steps)
        if choice.finish_reason:
            self._end(index, choice.finish_reason, steps)

    def _end(self, index: int, finish_reason: str, steps: list[Step]) -> None:
        self._ended[index] = True
        if finish_reason == "error":
            raise errors.in_stream(self._model, ErrorBody(), self._redact)
        if (reason := _LIMITS.get(finish_reason)) is not None:
            # Calls that are open are cut too, and close as incomplete with their choice: nobody may run them.
            steps.append(ChoiceIncomplete(reason, index))
        else:
            steps += self._complete_calls(index)

    def _take_piece(self, choice_index: int, piece: ToolCallPiece, steps: list[Step]) -> None:
        name = (piece.function.name if piece.function is not None else None) or ""
        arguments = (piece.function.arguments if piece.function is not None else None) or ""
        call = self._call_of(choice_index, piece, begins=bool(name))
        if not call.call_id:
            if not name:
                call.early += arguments
                return
            call.call_id = self._free_id(call.upstream_id or piece.id or "")
            executor = self._executor_of(name)
            self._only_ours = self._only_ours is not False and executor == item_pb2.EXECUTOR_SERVER
            steps.append(ToolCallStarted(call.call_id, name, executor, choice_index))
            arguments = call.early + arguments
        if arguments:
            steps.append(ToolArgumentsDelta(call.call_id, arguments))

    def _call_of(self, choice_index: int, piece: ToolCallPiece, *, begins: bool) -> _Call:
        index = piece.index
        if index is None:
            # Some upstreams number nothing: a piece with a name then begins a call, others go on with the last.
            index = sum(1 for key in self._calls if key[0] == choice_index) - (0 if begins else 1)
        key = (choice_index, max(index, 0))
        call = self._calls.get(key)
        if call is not None and begins and piece.id and call.upstream_id and piece.id != call.upstream_id:
            # Some number every call 0 and tell them apart by id alone.
            self._calls[choice_index, len(self._calls) + 1_000_000] = call
            call = None
        if call is None:
            call = self._calls[key] = _Call(choice_index, piece.id or "")
        return call

    def _free_id(self, wanted: str) -> str:
        good = wanted and wanted not in self._taken and not self._redact.secrets.within(wanted)
        call_id = wanted if good else f"call_{uuid4().hex[:24]}"
        self._taken = {*self._taken, call_id}
        return call_id

    def _complete_calls(self, choice_index: int) -> list[Step]:
        calls = [(key, call) for key, call in self._calls.items() if key[0] == choice_index]
        for key, _ in calls:
            del self._calls[key]
        if any(not call.call_id for _, call in calls):
            raise errors.malformed(self._model, "a tool call without a name")
        return [ToolCallCompleted(call.call_id) for _, call in calls]


def _tokens(logprobs: Logprobs) -> tuple[str, ...]:
    return tuple(bytes(token).decode(errors="replace") for token in logprobs.content or ())
