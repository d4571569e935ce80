"""From what an MCP tool gives back to what the model is shown."""

from collections.abc import Iterable

import msgspec
from breezeway.v1 import item_pb2
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from breezeway_server.agents.tools.base import ToolResult

_MAX_IMAGES = 2 * 1024 * 1024
"""Bytes of base64 in one result: an event with more would be larger than gRPC clients take by default."""


def to_result(result: CallToolResult, *, images: bool) -> ToolResult:
    """Text and resources that are text as text; images as images where the agent takes them; a note for the rest."""
    content: list[item_pb2.ContentPart] = []
    room = _MAX_IMAGES if images else 0
    for block in result.content:
        part = _part(block, room)
        room -= len(part.image.url)
        content.append(part)
    if not content and result.structured_content is not None:
        content.append(_text(msgspec.json.encode(result.structured_content).decode()))
    return ToolResult(tuple(content), result.is_error)


def _part(block: ContentBlock, room: int) -> item_pb2.ContentPart:
    match block:
        case TextContent():
            return _text(block.text)
        case ImageContent():
            return _image(block.mime_type, block.data, room)
        case AudioContent():
            return _note("audio", block.mime_type, _size(block.data))
        case ResourceLink():
            return _note("resource", block.name, block.uri, block.mime_type or "", block.description or "")
        case EmbeddedResource():
            resource = block.resource
            if not isinstance(resource, BlobResourceContents):
                return _text(f"{resource.uri}:\n{resource.text}")
            kind = resource.mime_type or "application/octet-stream"
            if kind.startswith("image/"):
                return _image(kind, resource.blob, room)
            return _note("resource", resource.uri, kind, _size(resource.blob))


def _image(kind: str, data: str, room: int) -> item_pb2.ContentPart:
    url = f"data:{kind};base64,{data}"
    if len(url) > room:
        return _note("image", kind, _size(data), "not shown")
    return item_pb2.ContentPart(image=item_pb2.Image(url=url))


def _note(*words: str) -> item_pb2.ContentPart:
    return _text(f"[{', '.join(_filled(words))}]")


def _filled(words: Iterable[str]) -> Iterable[str]:
    return filter(None, words)


def _size(base64: str) -> str:
    return f"{(len(base64) - base64.count('=', -2)) * 3 // 4} bytes"


def _text(text: str) -> item_pb2.ContentPart:
    return item_pb2.ContentPart(text=item_pb2.Text(text=text))
