"""One output item as events of a response's stream, from output_item.added to output_item.done."""

from typing import Literal, TypeVar

from breezeway.v1 import event_pb2, item_pb2

from breezeway_shim.dialects.responses.frames import FrameWriter
from breezeway_shim.dialects.responses.parts import (
    ArgumentsPart,
    Part,
    ReasoningPart,
    RefusalPart,
    SummaryPart,
    TextPart,
)
from breezeway_shim.openai_items.listed import item_json

# What OpenAI counts by itself: of each, one part at most is open, and the next closes it.
_Track = Literal["content_index", "summary_index", "arguments"]
P = TypeVar("P", TextPart, RefusalPart, ReasoningPart, SummaryPart)


def is_shown(item: item_pb2.Item) -> bool:
    """Whether OpenAI's lists have a form for the item; one without is newer than this reader."""
    return item_json(item) is not None


class ItemProjection:
    """Takes an item's events in order and returns the frames each gives rise to."""

    def __init__(self, writer: FrameWriter, item: item_pb2.Item, output_index: int) -> None:
        self.item_id = item.id
        self._writer = writer
        self._item = item
        self._output_index = output_index
        self._place: dict[str, object] = {"item_id": item.id, "output_index": output_index}
        self._open: dict[_Track, tuple[int, Part]] = {}

    def started(self) -> list[bytes]:
        """The frames of the item's beginning."""
        if self._item.HasField("function_call"):
            arguments = ArgumentsPart(self._writer, self._place, self._item.function_call.name)
            self._open["arguments"] = (0, arguments)
        return [self._item_frame("response.output_item.added", self._item)]

    def add(self, event: event_pb2.RunEvent) -> list[bytes]:
        """Take in the next event that names the item, after its beginning."""
        match event.WhichOneof("kind"):
            case "text_delta":
                text = event.text_delta
                frames, part = self._part(TextPart, "content_index", text.content_index)
                frames.append(
                    part.delta_with_logprobs(text.text, text.logprobs) if text.logprobs else part.delta(text.text)
                )
                return frames
            case "tool_arguments_delta":
                _, arguments = self._open["arguments"]
                return [arguments.delta(event.tool_arguments_delta.arguments)]
            case "reasoning_delta":
                return self._reasoning(event.reasoning_delta)
            case "refusal_delta":
                frames, refusal = self._part(RefusalPart, "content_index", event.refusal_delta.content_index)
                return [*frames, refusal.delta(event.refusal_delta.text)]
            case "item_completed":
                return self._completed(event.item_completed.item)
            case _:
                return []

    def _reasoning(self, delta: event_pb2.ReasoningDelta) -> list[bytes]:
        if delta.summary:
            frames, summary = self._part(SummaryPart, "summary_index", delta.part_index)
            return [*frames, summary.delta(delta.text)]
        frames, thought = self._part(ReasoningPart, "content_index", delta.part_index)
        return [*frames, thought.delta(delta.text)]

    def _part(self, kind: type[P], track: _Track, index: int) -> tuple[list[bytes], P]:
        """The part to which a delta belongs, and the frames that come before the delta where it is a new one."""
        before = self._open.get(track)
        if before is not None and before[0] == index and isinstance(before[1], kind):
            return [], before[1]
        frames = before[1].closed() if before is not None else []
        part = kind(self._writer, {**self._place, track: index})
        self._open[track] = (index, part)
        return frames + part.opened(), part

    def _completed(self, item: item_pb2.Item) -> list[bytes]:
        frames: list[bytes] = []
        for index, part in self._open.values():
            if isinstance(part, TextPart):
                frames += part.annotated(item.message.content[index].text.annotations)
            frames += part.closed()
        frames.append(self._item_frame("response.output_item.done", item))
        return frames

    def _item_frame(self, event: str, item: item_pb2.Item) -> bytes:
        return self._writer.frame(event, {"output_index": self._output_index, "item": item_json(item)})
