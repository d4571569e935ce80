"""A run's events as the stream of a response: pure, one event in, frames out.

OpenAI streams one item after the other, and a log may have several open at once. So items are shown in the order in
which they began, and the events of a later one are held back until all before it are done.
"""

from typing import assert_never

from breezeway.v1 import event_pb2

from breezeway_shim.dialects.responses.frames import FrameWriter
from breezeway_shim.dialects.responses.item_projection import ItemProjection, is_shown
from breezeway_shim.dialects.responses.objects import response_json
from breezeway_shim.fold import RunFold

# Most events are deltas, and the fold learns nothing from them.
_DELTAS = frozenset(("text_delta", "reasoning_delta", "tool_arguments_delta", "refusal_delta"))


class ResponseProjection:
    """Takes a run's events in order, from the first, and returns the frames each gives rise to."""

    def __init__(self) -> None:
        self._fold = RunFold()
        self._writer = FrameWriter()
        self._open: ItemProjection | None = None
        self._output_index = 0
        self._started = False
        self._held: dict[str, list[event_pb2.RunEvent]] = {}

    @property
    def frames_written(self) -> int:
        """How many frames there were so far: the number of the next."""
        return self._writer.written

    def add(self, event: event_pb2.RunEvent) -> list[bytes]:  # noqa: C901  one case a kind is the simplest form
        """Take in the next event."""
        kind = event.WhichOneof("kind")
        if kind not in _DELTAS:
            self._fold.add(event)
        match kind:
            case "text_delta":
                return self._item_event(event.text_delta.item_id, event)
            case "reasoning_delta":
                return self._item_event(event.reasoning_delta.item_id, event)
            case "tool_arguments_delta":
                return self._item_event(event.tool_arguments_delta.item_id, event)
            case "refusal_delta":
                return self._item_event(event.refusal_delta.item_id, event)
            case "item_started":
                return self._item_started(event)
            case "item_completed":
                return self._item_event(event.item_completed.item.id, event)
            case "run_queued":
                frames = [self._lifecycle("response.created", status="in_progress")]
                if event.run_queued.spec.background:
                    frames.append(self._lifecycle("response.queued"))
                return frames
            case "run_started":
                # Another attempt shows in the items that it closes and begins; OpenAI has no word for it.
                first, self._started = not self._started, True
                return [self._lifecycle("response.in_progress")] if first else []
            case "run_completed":
                return [self._lifecycle("response.completed")]
            case "run_incomplete":
                return [self._lifecycle("response.incomplete")]
            case "run_failed":
                return [self._lifecycle("response.failed")]
            case "run_cancelled":
                # There is no response.cancelled. Nothing failed, and what is there is sound: the status says the rest.
                return [self._lifecycle("response.incomplete")]
            case "tool_progress" | "model_call_completed" | "approval_requested" | "approval_resolved" | None:
                return []
            case _:
                assert_never(kind)

    def _item_started(self, event: event_pb2.RunEvent) -> list[bytes]:
        item = event.item_started.item
        if not is_shown(item):
            return []
        if self._open is not None:
            self._held[item.id] = [event]
            return []
        return self._show(event)

    def _item_event(self, item_id: str, event: event_pb2.RunEvent) -> list[bytes]:
        if self._open is not None and self._open.item_id == item_id:
            frames = self._show(event)
            return frames + self._show_held() if event.HasField("item_completed") else frames
        # Where nothing is held, no item that is shown has this id.
        if (held := self._held.get(item_id)) is not None:
            held.append(event)
        return []

    def _show(self, event: event_pb2.RunEvent) -> list[bytes]:
        """The frames of an event of the item whose turn it is."""
        if self._open is None:
            self._open = ItemProjection(self._writer, event.item_started.item, self._output_index)
            self._output_index += 1
            return self._open.started()
        frames = self._open.add(event)
        if event.HasField("item_completed"):
            self._open = None
        return frames

    def _show_held(self) -> list[bytes]:
        """The frames of the items that waited, up to and with the first that is not done."""
        frames: list[bytes] = []
        while self._held and self._open is None:
            for event in self._held.pop(next(iter(self._held))):
                frames += self._show(event)
        return frames

    def _lifecycle(self, event: str, *, status: str | None = None) -> bytes:
        return self._writer.frame(event, {"response": response_json(self._fold.run, status=status)})
