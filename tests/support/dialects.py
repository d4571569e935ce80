"""Every streaming dialect, as tests that hold for all of them see it."""

from collections.abc import Callable, Mapping
from typing import Protocol

from breezeway.v1 import event_pb2
from breezeway_shim.dialects.chat_completions.projection import ChatProjection
from breezeway_shim.dialects.responses.projection import ResponseProjection
from breezeway_shim.dialects.runs.projection import RunsProjection


class Projection(Protocol):
    """Turns events, added in order, into frames."""

    def add(self, event: event_pb2.RunEvent) -> list[bytes]: ...


# The name of a folder in tests/golden, and the projection whose transcripts it holds.
DIALECTS: Mapping[str, Callable[[], Projection]] = {
    "chat_completions": lambda: ChatProjection(include_usage=True, tool_progress=True),
    "responses": ResponseProjection,
    "runs": RunsProjection,
}


def frames(projection: Projection, events: list[event_pb2.RunEvent]) -> list[bytes]:
    """All frames of a log."""
    return [frame for event in events for frame in projection.add(event)]
