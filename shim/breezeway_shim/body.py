"""Reading request bodies: bounded, strictly JSON, and with the place of a fault in OpenAI's notation."""

import asyncio
import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from breezeway_shim.body_budget import BODY_BUDGET
from breezeway_shim.config import SETTINGS
from breezeway_shim.errors import RequestError

T = TypeVar("T")

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`")
_PLACE = re.compile(r"(?P<fault>.*?) - at `(?:key in )?\$\.?(?P<path>[^`]*)`$", re.DOTALL)


async def read_body(request: web.Request) -> bytes:
    """The whole body, which is read once.

    Raises `RequestError` 413 as soon as it is known to be too large, 408 where it does not come, and `ApiError` 503
    where too much of other bodies is held already.
    """
    settings = request.app[SETTINGS]
    limit = settings.max_body_bytes
    if (request.content_length or 0) > limit:
        raise body_too_large(limit)
    if (refusal := request.app[BODY_BUDGET].refusal(request)) is not None:
        raise refusal
    try:
        if request.content.is_eof():
            # As most: the whole body came along with the headers.
            return await _read(request, limit)
        async with asyncio.timeout(settings.http_body_seconds):
            return await _read(request, limit)
    except TimeoutError as error:
        message = f"The request body did not come within {settings.http_body_seconds:g} seconds."
        raise RequestError(message, code="request_timeout", status=408) from error
    except web.RequestPayloadError as error:
        message = "The request body is not framed or not encoded as its headers say."
        raise RequestError(message, code="malformed_request") from error


async def _read(request: web.Request, limit: int) -> bytes:
    # Not aiohttp's own way: that lets each connection buffer as much as a body may have before anybody counts it.
    budget = request.app[BODY_BUDGET]
    chunks: list[bytes] = []
    size = 0
    while not request.content.at_eof():
        chunk = await request.content.readany()
        size += len(chunk)
        if size > limit:
            raise body_too_large(limit)
        budget.take(request, size)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def body_too_large(limit: int) -> RequestError:
    """The answer to a body that is larger than may be."""
    return RequestError(f"The request body is larger than {limit} bytes.", code="body_too_large", status=413)


def decode_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The top-level fields of a JSON object, each as its own JSON text. Raises `RequestError` for anything else."""
    try:
        # msgspec looks into the strings that it decodes only; nothing that is not UTF-8 may travel on unread.
        body.decode()
        return _FIELDS.decode(body)
    except msgspec.ValidationError as error:
        raise RequestError("The request body must be a JSON object.") from error
    except RecursionError as error:
        raise RequestError("The request body is nested too deeply.") from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise RequestError("The request body is not valid JSON.") from error


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The body as the decoder's type. Raises `RequestError` whose `param` is the path of the fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise validation_error(error) from error
    except RecursionError as error:
        raise RequestError("The request body is nested too deeply.") from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise RequestError("The request body is not valid JSON.") from error


def json_text(raw: msgspec.Raw) -> str:
    """JSON text as the caller wrote it; empty for null."""
    text = bytes(raw).decode()
    return "" if text == "null" else text


def convert(value: Any, type_: type[T], path: str) -> T:
    """A decoded JSON value as `type_`. Raises `RequestError` whose `param` begins with `path`."""
    try:
        return msgspec.convert(value, type_, strict=False)
    except msgspec.ValidationError as error:
        raise validation_error(error, path) from error


def validation_error(error: msgspec.ValidationError, path: str = "") -> RequestError:
    """The answer to a value of the wrong shape at or below `path`; msgspec tells the place in its message alone."""
    fault, below = str(error), ""
    if match := _PLACE.match(fault):
        # msgspec writes [...] for "some key of this mapping"; the mapping is what can be named.
        fault, below = match["fault"], match["path"].partition("[...]")[0]
    code = "invalid_value"
    if match := _MISSING.match(fault):
        below = _joined(below, match["field"])
        fault, code = "is required", "missing_required_parameter"
    elif match := _UNKNOWN.match(fault):
        below = _joined(below, match["field"])
        fault, code = "is not known here", "unknown_parameter"
    elif ", got " in fault:
        # Of a value that has the right type and lies outside its bounds, msgspec does not say what it got.
        code = "invalid_type"
    param = _joined(path, below)
    separator = " " if code in {"missing_required_parameter", "unknown_parameter"} else ": "
    return RequestError(f"{param or 'The request body'}{separator}{fault}.", param or None, code=code)


def _joined(path: str, below: str) -> str:
    return f"{path}{below}" if not path or not below or below.startswith("[") else f"{path}.{below}"
