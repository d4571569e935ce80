"""What comes in: the bodies of requests that start a run and that answer for its tools. Optional fields may be null."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from breezeway_shim.openai_items.requested import RequestedItem


class RunRequest(Struct):
    """The body that starts a run."""

    input: str | list[RequestedItem]
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation_history: list[RequestedItem] | None = None
    # Two names of one thing.
    session_id: str | None = None
    conversation: str | None = None
    busy_policy: str | None = None
    metadata: dict[str, str] | None = None
    max_total_tokens: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None


class ApprovalAnswer(Struct):
    """The body that decides an approval; the only one that is open where it names none."""

    choice: Literal["once", "session", "always", "deny"]
    approval_id: str | None = None
    reason: str | None = None


RUN = msgspec.json.Decoder(RunRequest, strict=False)
APPROVAL = msgspec.json.Decoder(ApprovalAnswer, strict=False)
