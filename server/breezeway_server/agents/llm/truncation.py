"""The part of a run's history that its model is given: all of it, or less where it is too long to be read."""

from collections.abc import Sequence

from breezeway.v1 import item_pb2

from breezeway_server.agents.base import RunContext

_INSTRUCTIONS = {item_pb2.ROLE_SYSTEM, item_pb2.ROLE_DEVELOPER}


class History:
    """What a run's model is told: whole turns, from the newest back, always the instructions, always the new input.

    A turn begins with a message of the user. Turns of which a call is answered in a later one go together with it:
    a model is never shown an output without its call.
    """

    __slots__ = ("_new", "_past", "_start", "_starts")

    def __init__(self, past: Sequence[item_pb2.Item], new: Sequence[item_pb2.Item]) -> None:
        self._past = past
        self._new = new
        # Where what is left may begin, from the next on; not looked for before something is to be left out.
        self._starts: list[int] | None = None
        self._start = 0

    @classmethod
    def of(cls, context: RunContext) -> "History":
        """The history and the input of a run; where the input brings its own history, that counts as history."""
        new = 0
        if context.spec.explicit_history:
            for index, item in enumerate(context.input):
                if item.HasField("function_call") or item.message.role == item_pb2.ROLE_ASSISTANT:
                    new = index + 1
        return cls([*context.history, *context.input[:new]], context.input[new:])

    @property
    def items(self) -> list[item_pb2.Item]:
        """What is left, oldest first."""
        instructions = (item for item in self._past[: self._start] if item.message.role in _INSTRUCTIONS)
        return [*instructions, *self._past[self._start :], *self._new]

    def shorten(self) -> bool:
        """Leave out the older half of the turns that are left. False where there is nothing more to leave out."""
        if self._starts is None:
            self._starts = _starts(self._past, self._new)
        if not self._starts:
            return False
        leave = (len(self._starts) + 1) // 2
        self._start = self._starts[leave - 1]
        del self._starts[:leave]
        return True


def _starts(past: Sequence[item_pb2.Item], new: Sequence[item_pb2.Item]) -> list[int]:
    """Where the history may begin later: at each turn that no later output reaches back over, and behind the last."""
    made_at = {item.function_call.call_id: at for at, item in enumerate(past) if item.HasField("function_call")}
    reached = min((made_at.get(item.function_call_output.call_id, len(past)) for item in new), default=len(past))
    starts = [len(past)] if reached == len(past) else []
    for at in range(len(past) - 1, -1, -1):
        reached = min(reached, made_at.get(past[at].function_call_output.call_id, reached))
        if at <= reached and past[at].message.role == item_pb2.ROLE_USER:
            starts.append(at)
    # What stands before the first message of a user belongs to nobody's turn and is the first to go.
    return sorted(start for start in starts if start > 0)
