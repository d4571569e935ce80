"""Pages of items over HTTP: which page is asked for, and the list object that answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from aiohttp import web
from breezeway.v1 import item_pb2

from breezeway_shim.errors import RequestError
from breezeway_shim.openai_items.listed import items_json

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100


class PageQuery(NamedTuple):
    """Which items are asked for."""

    limit: int
    after: str
    ascending: bool


def page_query(request: web.Request, *, default_order: Literal["asc", "desc"] = "desc") -> PageQuery:
    """`limit` (1 to 100, else 20), `after` and `order` (`asc`: oldest first). Raises `RequestError`."""
    limit = _DEFAULT_LIMIT
    if "limit" in request.query:
        given = request.query["limit"]
        limit = int(given) if given.isascii() and given.isdigit() and len(given) < 4 else 0
        if not 1 <= limit <= _MAX_LIMIT:
            raise RequestError(
                f"limit is {given!r}; it must lie between 1 and {_MAX_LIMIT}.", "limit", code="invalid_value"
            )
    order = request.query.get("order", default_order)
    if order not in {"asc", "desc"}:
        raise RequestError(f"order is {order!r}; it must be asc or desc.", "order", code="invalid_value")
    return PageQuery(limit, request.query.get("after", ""), order == "asc")


def list_json(items: Iterable[item_pb2.Item], *, has_more: bool) -> dict[str, Any]:
    """OpenAI's list object of items."""
    return list_object(items_json(items), has_more=has_more)


def list_object(data: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """OpenAI's list object of what has ids."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def json_answer(value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    """A whole answer of JSON."""
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)
