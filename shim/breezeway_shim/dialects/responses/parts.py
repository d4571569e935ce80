"""The open parts of an item and their frames: a part begins, grows by deltas, and is closed."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import msgspec
from breezeway.v1 import item_pb2

from breezeway_shim.dialects.responses.frames import FrameWriter
from breezeway_shim.openai_items.listed import (
    logprobs_json,
    part_json,
    raw_json_list,
    reasoning_part_json,
    summary_part_json,
)

_encode = msgspec.json.encode


class Part(ABC):
    """Something that grows; `place` names it in every event: item, output index and index within the item."""

    delta_event: str
    done_event: str
    # What follows the text in a delta.
    delta_end = b"}\n\n"

    def __init__(self, writer: FrameWriter, place: dict[str, object]) -> None:
        self._writer = writer
        self._place = place
        self._texts: list[str] = []
        # All bytes of a delta but for its number and its text are known from the start.
        self._delta_start = (
            f'event: {self.delta_event}\ndata: {{"type":"{self.delta_event}","sequence_number":'.encode()
        )
        self._delta_middle = b"," + _encode(place)[1:-1] + b',"delta":'

    def delta(self, text: str) -> bytes:
        """The frame of more text."""
        self._texts.append(text)
        number = b"%d" % self._writer.next_number()
        return b"".join((self._delta_start, number, self._delta_middle, _encode(text), self.delta_end))

    @abstractmethod
    def closed(self) -> list[bytes]:
        """The frames after the last delta."""

    def _frame(self, event: str, **fields: object) -> bytes:
        return self._writer.frame(event, {**self._place, **fields})


class ArgumentsPart(Part):
    """The arguments of a call; `name` is that of the function."""

    delta_event = "response.function_call_arguments.delta"
    done_event = "response.function_call_arguments.done"

    def __init__(self, writer: FrameWriter, place: dict[str, object], name: str) -> None:
        super().__init__(writer, place)
        self._name = name

    def closed(self) -> list[bytes]:
        """The frame after the last delta."""
        return [self._frame(self.done_event, arguments="".join(self._texts), name=self._name)]


class ListedPart(Part):
    """A part that OpenAI lists as an object of its own, with events for its beginning and its end."""

    # The name of the whole text in the done event.
    done_field = "text"
    added_event = "response.content_part.added"
    closed_event = "response.content_part.done"

    def opened(self) -> list[bytes]:
        """The frames before the first delta."""
        return [self._frame(self.added_event, part=self._listed(""))]

    def closed(self) -> list[bytes]:
        """The frames after the last delta."""
        text = "".join(self._texts)
        return [
            self._frame(self.done_event, **{self.done_field: text}, **self._done_fields()),
            self._frame(self.closed_event, part=self._listed(text)),
        ]

    @abstractmethod
    def _listed(self, text: str) -> object:
        """The part as OpenAI lists it."""

    def _done_fields(self) -> dict[str, object]:
        """What the done event holds besides."""
        return {}


class TextPart(ListedPart):
    """Text of a message."""

    delta_event = "response.output_text.delta"
    done_event = "response.output_text.done"
    delta_end = b',"logprobs":[]}\n\n'

    def __init__(self, writer: FrameWriter, place: dict[str, object]) -> None:
        super().__init__(writer, place)
        self._logprobs: list[str] = []
        self._annotations: list[str] = []

    def delta_with_logprobs(self, text: str, logprobs: Iterable[str]) -> bytes:
        """The frame of more text whose tokens come with their log probabilities."""
        self._texts.append(text)
        self._logprobs.extend(logprobs)
        return self._frame(self.delta_event, delta=text, logprobs=logprobs_json(logprobs))

    def annotated(self, annotations: Iterable[str]) -> list[bytes]:
        """The frames of the annotations, which are known when the item is whole."""
        self._annotations.extend(annotations)
        return [
            self._frame("response.output_text.annotation.added", annotation_index=index, annotation=annotation)
            for index, annotation in enumerate(raw_json_list(self._annotations))
        ]

    def _listed(self, text: str) -> object:
        whole = item_pb2.Text(text=text, annotations=self._annotations, logprobs=self._logprobs)
        return part_json(item_pb2.ContentPart(text=whole), written_by_agent=True)

    def _done_fields(self) -> dict[str, object]:
        return {"logprobs": logprobs_json(self._logprobs)}


class RefusalPart(ListedPart):
    """The model's words when it declines."""

    delta_event = "response.refusal.delta"
    done_event = "response.refusal.done"
    done_field = "refusal"

    def _listed(self, text: str) -> object:
        return part_json(item_pb2.ContentPart(refusal=item_pb2.Refusal(text=text)), written_by_agent=True)


class ReasoningPart(ListedPart):
    """A part of a thought itself."""

    delta_event = "response.reasoning_text.delta"
    done_event = "response.reasoning_text.done"

    def _listed(self, text: str) -> object:
        return reasoning_part_json(text)


class SummaryPart(ListedPart):
    """A part of the summary of a thought."""

    delta_event = "response.reasoning_summary_text.delta"
    done_event = "response.reasoning_summary_text.done"
    added_event = "response.reasoning_summary_part.added"
    closed_event = "response.reasoning_summary_part.done"

    def _listed(self, text: str) -> object:
        return summary_part_json(text)
