"""The paths of the OpenAPI document that are not calls of services: OpenAI's dialects, and the shim's own."""

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from breezeway_shim.dialects.chat_completions.schema import ChatRequest
from breezeway_shim.dialects.conversations.schema import CreateConversation, CreateItems, UpdateConversation
from breezeway_shim.dialects.responses.schema import ResponseRequest
from breezeway_shim.dialects.runs.schema import ApprovalAnswer, RunRequest
from breezeway_shim.transcoding.openapi.messages import Schema
from breezeway_shim.transcoding.openapi.structs import StructSchemas

ERROR_RESPONSE = "Error"
_PARAMETER = re.compile(r"\{([^{}]+)\}")
_JSON = ("application/json",)
_STREAMED = ("application/json", "text/event-stream")
_PAGE: Mapping[str, Schema] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "after": {"type": "string"},
    "order": {"enum": ["asc", "desc"]},
}
_CURSOR: Mapping[str, Schema] = {"starting_after": {"type": "integer", "minimum": 0}}
_STREAM_QUERY: Mapping[str, Schema] = {
    "stream": {"type": "boolean"},
    **_CURSOR,
    "include": {"type": "array", "items": {"type": "string"}},
}


class _Known(NamedTuple):
    """What a route's own code does not say."""

    body: type[msgspec.Struct] | None = None
    query: Mapping[str, Schema] = {}
    produces: tuple[str, ...] = _JSON
    unavailable: bool = False


_HEALTH = _Known(unavailable=True)
_ROUTES: Mapping[tuple[str, str], _Known] = {
    ("GET", "/"): _Known(produces=("application/json", "text/html")),
    ("GET", "/docs"): _Known(produces=("text/html",)),
    ("GET", "/health"): _HEALTH,
    ("GET", "/v1/health"): _HEALTH,
    ("GET", "/health/detailed"): _HEALTH,
    ("GET", "/ready"): _HEALTH,
    ("GET", "/metrics"): _Known(produces=("text/plain",)),
    ("POST", "/v1/chat/completions"): _Known(ChatRequest, produces=_STREAMED),
    ("POST", "/v1/responses"): _Known(ResponseRequest, produces=_STREAMED),
    ("POST", "/v1/responses/input_tokens"): _Known(ResponseRequest),
    ("GET", "/v1/responses/{response_id}"): _Known(query=_STREAM_QUERY, produces=_STREAMED),
    ("GET", "/v1/responses/{response_id}/input_items"): _Known(query=_PAGE),
    ("POST", "/v1/conversations"): _Known(CreateConversation),
    ("POST", "/v1/conversations/{conversation_id}"): _Known(UpdateConversation),
    ("POST", "/v1/conversations/{conversation_id}/items"): _Known(CreateItems),
    ("GET", "/v1/conversations/{conversation_id}/items"): _Known(query=_PAGE),
    ("POST", "/v1/runs"): _Known(RunRequest),
    ("GET", "/v1/runs/{run_id}/events"): _Known(query=_CURSOR, produces=("text/event-stream",)),
    ("POST", "/v1/runs/{run_id}/approval"): _Known(ApprovalAnswer),
}


def paths_of_routes(app: web.Application, schemas: StructSchemas) -> dict[str, dict[str, Any]]:
    """Return the path items of the application's own routes, and put the schemas that they refer to in `schemas`.

    A route that the table above does not name is described by its handler: its first line, its variables, some JSON.
    """
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in app.router.routes():
        if route.resource is None or route.method in {"HEAD", "*"}:
            continue
        path = route.resource.canonical
        paths[path][route.method.lower()] = _operation(route, path, schemas)
    return dict(paths)


def _operation(route: web.AbstractRoute, path: str, schemas: StructSchemas) -> dict[str, Any]:
    known = _ROUTES.get((route.method, path), _Known())
    responses: dict[str, Any] = {
        "2XX": {"description": "OK", "content": {kind: {} for kind in known.produces}},
        "default": {"$ref": f"#/components/responses/{ERROR_RESPONSE}"},
    }
    if known.unavailable:
        responses["503"] = {"description": "Unavailable", "content": {"application/json": {}}}
    told = inspect.getdoc(route.handler) or ""
    operation: dict[str, Any] = {
        "operationId": f"{route.method} {path}",
        "summary": told.partition("\n")[0],
        "description": told,
        "tags": ["OpenAI" if path.startswith("/v1/") else "Breezeway"],
        "parameters": list(_parameters(path, known)),
        "responses": responses,
    }
    if route.method in {"POST", "PUT", "PATCH"}:
        schema = schemas.of(known.body) if known.body else {"type": "object"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(path: str, known: _Known) -> Iterator[Schema]:
    for name in _PARAMETER.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, schema in known.query.items():
        yield {"name": name, "in": "query", "schema": schema}
