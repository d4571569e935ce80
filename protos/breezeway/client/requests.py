"""Requests from what callers give: the same for both clients."""

import uuid
from collections.abc import Sequence
from typing import TypeAlias

from breezeway.client.progress import Progress
from breezeway.v1 import item_pb2, run_pb2, stream_service_pb2

Input: TypeAlias = str | Sequence[item_pb2.Item]
"""What a run is asked: a text of the user's, or items."""

PAGE_SIZE = 100


def items_of(given: Input) -> Sequence[item_pb2.Item]:
    """The items of an input; a text is one message of the user."""
    if not isinstance(given, str):
        return given
    part = item_pb2.ContentPart(text=item_pb2.Text(text=given))
    return [item_pb2.Item(message=item_pb2.Message(role=item_pb2.ROLE_USER, content=[part]))]


def spec_of(agent: str, spec: run_pb2.RunSpec | None) -> run_pb2.RunSpec:
    """What is asked for, of that agent."""
    wanted = run_pb2.RunSpec()
    if spec is not None:
        wanted.CopyFrom(spec)
    wanted.agent = agent
    return wanted


def stream_request(
    agent: str,
    given: Input,
    *,
    spec: run_pb2.RunSpec | None,
    request_id: str,
    detail: stream_service_pb2.StreamDetail.ValueType,
    on_disconnect: stream_service_pb2.DisconnectPolicy.ValueType,
) -> stream_service_pb2.StreamRunRequest:
    """A new run, followed. It gets a request id of its own where it has none: a lost call can then be made again."""
    return stream_service_pb2.StreamRunRequest(
        spec=spec_of(agent, spec),
        input=items_of(given),
        request_id=request_id or str(uuid.uuid4()),
        detail=detail,
        on_disconnect=on_disconnect,
    )


def follow_request(
    progress: Progress, detail: stream_service_pb2.StreamDetail.ValueType
) -> stream_service_pb2.FollowRunRequest:
    """What is left of the run."""
    return stream_service_pb2.FollowRunRequest(run_id=progress.run_id, after_sequence=progress.sequence, detail=detail)
