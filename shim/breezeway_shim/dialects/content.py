"""Content parts of messages, in both of OpenAI's spellings, as proto."""

from typing import Any, Literal

import msgspec
from breezeway.v1 import item_pb2

from breezeway_shim.errors import RequestError

PartKind = Literal["text", "image", "file", "refusal"]

_KINDS: dict[str, PartKind] = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "image_url": "image",
    "input_image": "image",
    "file": "file",
    "input_file": "file",
    "refusal": "refusal",
}


class _Text(msgspec.Struct):
    text: str


class _Refusal(msgspec.Struct):
    refusal: str


class _ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class _Image(msgspec.Struct):
    image_url: str | _ImageUrl | None = None
    file_id: str | None = None
    detail: str | None = None


class _File(msgspec.Struct):
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None


class _NestedFile(msgspec.Struct):
    file: _File


def content_parts(content: Any, path: str, allowed: frozenset[PartKind]) -> list[item_pb2.ContentPart]:
    """Return the parts of a message's `content`: a string, or a list of parts; null has none.

    Takes each part in the spelling of Chat Completions and of Responses. Raises `RequestError` whose `param` is
    `path`, with code `invalid_content_part`, `unsupported_content_type` or `invalid_image_url`; the message names the
    part.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [item_pb2.ContentPart(text=item_pb2.Text(text=content))]
    if not isinstance(content, list):
        raise RequestError(f"{path} must be a string or a list of parts.", path, code="invalid_content_part")
    return [_part(part, index, path, allowed) for index, part in enumerate(content)]


def _part(part: Any, index: int, path: str, allowed: frozenset[PartKind]) -> item_pb2.ContentPart:
    place = f"{path}[{index}]"
    kind_name = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind_name, str):
        raise RequestError(f"{place} must be an object with a type.", path, code="invalid_content_part")
    kind = _KINDS.get(kind_name)
    if kind is None or kind not in allowed:
        raise RequestError(
            f"{place}: content of type {kind_name!r} is not supported here.", path, code="unsupported_content_type"
        )
    try:
        match kind:
            case "text":
                return item_pb2.ContentPart(text=item_pb2.Text(text=msgspec.convert(part, _Text).text))
            case "refusal":
                refusal = msgspec.convert(part, _Refusal).refusal
                return item_pb2.ContentPart(refusal=item_pb2.Refusal(text=refusal))
            case "image":
                return item_pb2.ContentPart(image=_image(msgspec.convert(part, _Image), place, path))
            case "file":
                nested = kind_name == "file"
                file = msgspec.convert(part, _NestedFile).file if nested else msgspec.convert(part, _File)
                return item_pb2.ContentPart(file=_file(file, place, path))
    except msgspec.ValidationError as error:
        raise RequestError(f"{place}: {error}.", path, code="invalid_content_part") from error


def _image(image: _Image, place: str, path: str) -> item_pb2.Image:
    source = image.image_url
    url, detail = (source.url, source.detail) if isinstance(source, _ImageUrl) else (source, None)
    if image.file_id and url is None:
        return item_pb2.Image(file_id=image.file_id, detail=image.detail or "")
    if url is None:
        raise RequestError(f"{place} has no image_url.", path, code="invalid_content_part")
    scheme = url[:11].lower()
    if scheme.startswith("data:") and scheme != "data:image/":
        raise RequestError(
            f"{place}: of data: URLs only data:image/ is supported.", path, code="unsupported_content_type"
        )
    if not scheme.startswith(("http://", "https://", "data:image/")):
        raise RequestError(
            f"{place}: an image needs an http, https or data:image/ URL.", path, code="invalid_image_url"
        )
    return item_pb2.Image(url=url, detail=detail or image.detail or "")


def _file(file: _File, place: str, path: str) -> item_pb2.File:
    given = [name for name in ("file_id", "file_data", "file_url") if getattr(file, name)]
    if len(given) != 1:
        raise RequestError(
            f"{place} needs exactly one of file_id, file_data and file_url.", path, code="invalid_content_part"
        )
    return item_pb2.File(
        filename=file.filename or "", file_id=file.file_id or "", data=file.file_data or "", url=file.file_url or ""
    )
