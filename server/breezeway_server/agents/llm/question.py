"""What the model is asked in one round, and how its answer is read."""

from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.llm.messages import to_messages
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.request import encode
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.llm.truncation import History


class Question:
    """One round's question, to whichever model answers it; nobody needs it once the answer has begun."""

    __slots__ = ("_context", "_history", "_instructions", "_redact", "_request", "_taken")

    def __init__(
        self,
        context: RunContext,
        history: History,
        request: dict[str, Any],
        *,
        instructions: str,
        taken: AbstractSet[str],
        redact: Redactor,
    ) -> None:
        """`request` is the body without model and messages; `instructions` are the agent's; see `ModelStream`."""
        self._context = context
        self._history = history
        self._request = request
        self._instructions = instructions
        self._taken = taken
        self._redact = redact

    def body(self, model: str) -> bytes:
        """Return the body of the call of a model."""
        messages = to_messages(
            [self._instructions, self._context.spec.instructions],
            self._history.items,
            # An answer that a crash cut in two stands here as far as it got, as the model's own last words: what
            # readers have seen cannot be taken back, so the model has to go on from it and not begin again.
            self._context.output,
        )
        return encode({**self._request, "messages": messages}, model=model)

    def fold(self, model: str) -> ModelStream:
        """Return what the stream of a model's answer is folded by."""
        return ModelStream(
            model,
            executor_of=partial(_executor_of, self._context.spec),
            taken=self._taken,
            redact=self._redact,
        )

    def shorten(self) -> bool:
        """Leave out some of the history, where its caller lets us. False where nothing can be left out."""
        return self._context.spec.truncation == run_pb2.TRUNCATION_AUTO and self._history.shorten()


def _executor_of(spec: run_pb2.RunSpec, name: str) -> item_pb2.Executor.ValueType:
    # A name that nobody has is ours to answer for: the model is told, and can choose another.
    callers = any(tool.function.name == name for tool in spec.tools)
    return item_pb2.EXECUTOR_CLIENT if callers else item_pb2.EXECUTOR_SERVER
