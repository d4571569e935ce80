"""Hiding an agent's secrets in the steps of its model and of its tools."""

from typing import NamedTuple, TypeAlias

import msgspec
from breezeway.v1 import item_pb2

from breezeway_server.agents.llm.secrets import SecretFilter, Secrets
from breezeway_server.agents.steps import (
    ReasoningDelta,
    RefusalDelta,
    Step,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallCompleted,
    ToolCallOutput,
    ToolCallStarted,
    ToolProgress,
)

_Delta: TypeAlias = TextDelta | RefusalDelta | ReasoningDelta | ToolArgumentsDelta
_Key: TypeAlias = int | str


class _Open(NamedTuple):
    """A text that is being said, and a step of it."""

    delta: _Delta
    text: SecretFilter


class HidingSteps:
    """Hides secrets in the steps of one model call, also where a secret comes in several deltas.

    Deltas that have nothing to do with a secret pass as they are.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        # What each choice is saying, by its index, and the arguments of each call, by its id.
        self._open: dict[_Key, _Open] = {}
        # Those of them that are an answer's text.
        self._texts: dict[int, SecretFilter] = {}

    def feed(self, steps: list[Step]) -> list[Step]:
        """The steps, less what may turn out to be a secret, which a later call returns."""
        said: list[Step] = []
        for step in steps:
            if type(step) is TextDelta and (text := self._texts.get(step.choice_index)) is not None:
                # What nearly every step is: more of the text that its choice is saying.
                if (rest := text.feed(whole := step.text)) is whole:
                    said.append(step)
                elif rest:
                    said.append(_with_text(step, rest))
                continue
            match step:
                case TextDelta() | RefusalDelta() | ReasoningDelta():
                    self._say(step.choice_index, step, step.text, said)
                case ToolArgumentsDelta():
                    self._say(step.call_id, step, step.arguments, said)
                case ToolCallStarted():
                    self._close(step.choice_index, said)
                    said.append(msgspec.structs.replace(step, name=self._secrets.hide(step.name)))
                case ToolCallCompleted():
                    self._close(step.call_id, said)
                    said.append(step)
                case _:
                    self._close_all(said)
                    said.append(step)
        return said

    def end(self, steps: list[Step]) -> list[Step]:
        """The last steps, with all that was held back."""
        said = self.feed(steps)
        self._close_all(said)
        return said

    def _say(self, key: _Key, step: _Delta, text: str, said: list[Step]) -> None:
        opened = self._open.get(key)
        if opened is None or type(opened.delta) is not type(step):
            self._close(key, said)
            opened = self._open[key] = _Open(step, SecretFilter(self._secrets))
            if isinstance(step, TextDelta):
                self._texts[step.choice_index] = opened.text
        rest = opened.text.feed(text)
        if rest is text:
            said.append(step)
        elif rest:
            said.append(_with_text(step, rest))

    def _close(self, key: _Key, said: list[Step]) -> None:
        opened = self._open.pop(key, None)
        if isinstance(key, int):
            self._texts.pop(key, None)
        if opened is not None and (rest := opened.text.end()):
            said.append(_with_text(opened.delta, rest))

    def _close_all(self, said: list[Step]) -> None:
        for key in list(self._open):
            self._close(key, said)


def hide_in_output(secrets: Secrets, step: ToolCallOutput | ToolProgress) -> ToolCallOutput | ToolProgress:
    """What a tool said, without the secrets."""
    if isinstance(step, ToolProgress):
        return msgspec.structs.replace(step, message=secrets.hide(step.message))
    return msgspec.structs.replace(step, content=tuple(hide_in_part(secrets, part) for part in step.content))


def hide_in_part(secrets: Secrets, part: item_pb2.ContentPart) -> item_pb2.ContentPart:
    """The part of a tool's output, without the secrets in its text."""
    if not secrets.within(part.text.text):
        return part
    return item_pb2.ContentPart(text=item_pb2.Text(text=secrets.hide(part.text.text)))


def _with_text(step: _Delta, text: str) -> _Delta:
    match step:
        case ToolArgumentsDelta():
            return ToolArgumentsDelta(step.call_id, text)
        case TextDelta():
            # Without logprobs: they spell the text out.
            return TextDelta(text, step.choice_index)
        case _:
            return msgspec.structs.replace(step, text=text)
