"""The OpenAPI document: calls of services and routes of dialects in one."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from aiohttp import web
from google.rpc import status_pb2

from breezeway_shim.transcoding.openapi.calls import STATUS_RESPONSE, paths_of_calls
from breezeway_shim.transcoding.openapi.dialects import ERROR_RESPONSE, paths_of_routes
from breezeway_shim.transcoding.openapi.messages import MessageSchemas, reference
from breezeway_shim.transcoding.openapi.structs import StructSchemas
from breezeway_shim.transcoding.rules import Route

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def build_document(app: web.Application, routes: Sequence[Route], comments: Mapping[str, str]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the application, whose transcoder serves `routes`.

    `comments` are those of the protos, by full name; what has none goes without a description.
    """
    messages, structs = MessageSchemas(comments), StructSchemas()
    paths = {**paths_of_routes(app, structs), **paths_of_calls(routes, messages)}
    status = messages.of_message(status_pb2.Status.DESCRIPTOR)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Breezeway", "version": version("breezeway")},
        "tags": list(_tags(routes, comments)),
        "paths": paths,
        # A server without keys asks for none.
        "security": [{}, {"bearer": []}],
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": {
                STATUS_RESPONSE: _json("A google.rpc.Status", status),
                ERROR_RESPONSE: _json("OpenAI's error", reference("Error")),
            },
            "schemas": {**messages.components, **structs.components, "Error": _ERROR},
        },
    }


def _tags(routes: Sequence[Route], comments: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for service in dict.fromkeys(route.rpc.containing_service for route in routes):
        assert service is not None, "every call belongs to a service"
        if comment := comments.get(service.full_name):
            yield {"name": service.name, "description": comment}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
