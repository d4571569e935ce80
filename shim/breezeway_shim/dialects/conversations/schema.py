"""What comes in: the bodies of requests that create and change conversations. Every field may be null."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from breezeway_shim.openai_items.requested import RequestedItem

# OpenAI's limit of items in one request.
_MAX_ITEMS = 20


class CreateConversation(Struct):
    """The body that creates a conversation; `id` is Breezeway's own, a name that the caller chooses."""

    id: str | None = None
    metadata: dict[str, str] | None = None
    items: Annotated[list[RequestedItem], Meta(max_length=_MAX_ITEMS)] | None = None


class UpdateConversation(Struct):
    """The body that replaces a conversation's metadata."""

    metadata: dict[str, str] | None


class CreateItems(Struct):
    """The body that adds items."""

    items: Annotated[list[RequestedItem], Meta(min_length=1, max_length=_MAX_ITEMS)]


CREATE_CONVERSATION = msgspec.json.Decoder(CreateConversation, strict=False)
UPDATE_CONVERSATION = msgspec.json.Decoder(UpdateConversation, strict=False)
CREATE_ITEMS = msgspec.json.Decoder(CreateItems, strict=False)
