"""An item while its deltas are coming."""

from breezeway.v1 import event_pb2, item_pb2

from breezeway_server.events.legal import IllegalEvent

ContentDelta = event_pb2.TextDelta | event_pb2.RefusalDelta


class _Part:
    """One part of a message's content, or of a thought."""

    __slots__ = ("logprobs", "pieces", "refusal")

    def __init__(self, *, refusal: bool = False) -> None:
        self.refusal = refusal
        self.pieces: list[str] = []
        self.logprobs: list[str] = []

    def content(self) -> item_pb2.ContentPart:
        text = "".join(self.pieces)
        if self.refusal:
            return item_pb2.ContentPart(refusal=item_pb2.Refusal(text=text))
        return item_pb2.ContentPart(text=item_pb2.Text(text=text, logprobs=self.logprobs))


class OpenItem:
    """What an item has so far. Deltas add to it in place; nothing is joined before somebody asks."""

    __slots__ = ("_begun", "_parts", "_summary", "choice_index", "id", "kind")

    def __init__(self, item: item_pb2.Item) -> None:
        """Begin with the item of an `ItemStarted`."""
        # Encoded: the message would hold the whole event that it came in, ten times as large.
        self._begun = item.SerializeToString()
        # Read once: to ask a message for a field is to build an object, and these are asked for with every delta.
        self.id = item.id
        self.kind = item.WhichOneof("kind")
        self.choice_index = item.choice_index
        self._parts: list[_Part] = []
        self._summary: list[_Part] = []

    @property
    def parts(self) -> int:
        """How many parts of content it has."""
        return len(self._parts)

    @property
    def last_part_is_refusal(self) -> bool | None:
        """What kind its newest part is; None where it has none."""
        return self._parts[-1].refusal if self._parts else None

    def thoughts(self, *, summary: bool) -> int:
        """Return how many parts it has of a thought, or of the summary of one."""
        return len(self._summary if summary else self._parts)

    def add_text(self, delta: event_pb2.TextDelta) -> None:
        """Take in more text."""
        self.append_text(delta.content_index, delta.text)
        if delta.logprobs:
            self._parts[-1].logprobs.extend(delta.logprobs)

    def append_text(self, content_index: int, text: str) -> None:
        """Take in more text that has no logprobs."""
        parts = self._parts
        if self.kind == "message" and content_index == len(parts) - 1 and not parts[-1].refusal:
            parts[-1].pieces.append(text)
        else:
            self._part("message", parts, content_index, refusal=False).pieces.append(text)

    def add_refusal(self, delta: event_pb2.RefusalDelta) -> None:
        """Take in more of a refusal."""
        self._part("message", self._parts, delta.content_index, refusal=True).pieces.append(delta.text)

    def add_reasoning(self, delta: event_pb2.ReasoningDelta) -> None:
        """Take in more of a thought."""
        parts = self._summary if delta.summary else self._parts
        self._part("reasoning", parts, delta.part_index, refusal=False).pieces.append(delta.text)

    def add_arguments(self, delta: event_pb2.ToolArgumentsDelta) -> None:
        """Take in more of a call's arguments."""
        self._part("function_call", self._parts, 0, refusal=False).pieces.append(delta.arguments)

    def _part(self, kind: str, parts: list[_Part], index: int, *, refusal: bool) -> _Part:
        if self.kind != kind:
            raise IllegalEvent(f"item {self.id} is a {self.kind}, not a {kind}")
        if index == len(parts):
            parts.append(_Part(refusal=refusal))
        elif not (index == len(parts) - 1 and parts[index].refusal is refusal):
            raise IllegalEvent(f"item {self.id} is not at part {index}")
        return parts[index]

    def snapshot(self) -> item_pb2.Item:
        """Return the item with what it has; the caller owns it."""
        item = item_pb2.Item.FromString(self._begun)
        if self.kind == "message":
            item.message.content.extend(part.content() for part in self._parts)
        elif self.kind == "reasoning":
            item.reasoning.summary.extend("".join(part.pieces) for part in self._summary)
            item.reasoning.content.extend("".join(part.pieces) for part in self._parts)
        elif self.kind == "function_call":
            item.function_call.arguments += "".join(piece for part in self._parts for piece in part.pieces)
        return item

    def close(
        self, status: item_pb2.ItemStatus.ValueType, reason: item_pb2.IncompleteReason.ValueType
    ) -> item_pb2.Item:
        """Return the item as it ends; the caller owns it."""
        item = self.snapshot()
        item.status = status
        item.incomplete_reason = reason
        return item
