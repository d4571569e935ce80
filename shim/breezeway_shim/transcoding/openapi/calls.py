"""The paths of the OpenAPI document that are calls of services, from their routes."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from breezeway_shim.transcoding.fields import has_json_of_its_own, is_map, is_text, resolve
from breezeway_shim.transcoding.openapi.messages import MessageSchemas, Schema
from breezeway_shim.transcoding.requests import takes_key
from breezeway_shim.transcoding.rules import ANY_METHOD, Route
from breezeway_shim.transcoding.streams import EVENT_STREAM, JSON_LINES, has_sequences
from breezeway_shim.transcoding.template import Template

STATUS_RESPONSE = "Status"
# Up to the first stop that a new sentence follows.
_FIRST_SENTENCE = re.compile(r"(.+?\.)(?=\s+[A-Z`]|\s*\Z)", re.DOTALL)
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE")
_OF_ANY = _METHODS[:5]


def paths_of_calls(routes: Iterable[Route], schemas: MessageSchemas) -> dict[str, dict[str, Any]]:
    """Return the path items of all routes, and put the schemas that they refer to in `schemas`.

    Methods that OpenAPI has no name for are left out.
    """
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    # OpenAPI takes paths that differ in the names of their variables alone for the same.
    names_by_shape: dict[str, Mapping[int, str]] = {}
    bindings: dict[str, int] = defaultdict(int)
    for route in routes:
        names = names_by_shape.setdefault(route.template.shape, _parameter_names(route.template))
        for method in _OF_ANY if route.http_method == ANY_METHOD else [route.http_method]:
            operations = paths[_path(route.template, names)]
            if method not in _METHODS or method.lower() in operations:
                continue
            bindings[route.rpc.full_name] += 1
            operations[method.lower()] = _operation(route, names, bindings[route.rpc.full_name], schemas)
    return {path: operations for path, operations in paths.items() if operations}


def _operation(route: Route, names: Mapping[int, str], binding: int, schemas: MessageSchemas) -> dict[str, Any]:
    rpc = route.rpc
    assert rpc.containing_service is not None, "every call belongs to a service"
    service = rpc.containing_service.name
    comment = schemas.comments.get(rpc.full_name, rpc.full_name)
    operation: dict[str, Any] = {
        "operationId": f"{service}.{rpc.name}" + (f".{binding}" if binding > 1 else ""),
        "summary": _first_sentence(comment),
        "description": comment,
        "tags": [service],
        "parameters": [*_path_parameters(route, names, schemas), *_query_parameters(route, schemas)],
        "responses": {
            "200": {"description": "OK", "content": _reply(route, schemas)},
            "default": {"$ref": f"#/components/responses/{STATUS_RESPONSE}"},
        },
    }
    if takes_key(rpc.input_type):
        schema = {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"}
        description = "Stands for the request's `request_id`: the same key with the same body is the same request."
        operation["parameters"].append(_header("Idempotency-Key", description, schema))
    if "after_sequence" in rpc.input_type.fields_by_name and has_sequences(rpc.output_type):
        schema = {"type": "string", "pattern": "^[0-9]+$"}
        description = "The last `id:` that the reader of a stream has; what comes after it is sent."
        operation["parameters"].append(_header("Last-Event-ID", description, schema))
    if route.body:
        operation["requestBody"] = {"content": {"application/json": {"schema": _body(route, schemas)}}}
    return operation


def _first_sentence(comment: str) -> str:
    found = _FIRST_SENTENCE.match(comment)
    return found[1] if found else comment


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def _reply(route: Route, schemas: MessageSchemas) -> dict[str, Any]:
    reply = route.rpc.output_type
    schema = (
        schemas.of_field(reply.fields_by_name[route.response_body])
        if route.response_body
        else schemas.of_message(reply)
    )
    if not route.rpc.server_streaming:
        return {"application/json": {"schema": schema}}
    # OpenAPI 3.1 cannot say of what a stream consists, and readers disagree on what a `schema` would be about: the
    # whole, or each event. `x-item-schema` is for people.
    return {kind: {"x-item-schema": schema} for kind in (EVENT_STREAM, *JSON_LINES)}


def _body(route: Route, schemas: MessageSchemas) -> Schema:
    request = route.rpc.input_type
    if route.body != "*":
        return schemas.of_field(request.fields_by_name[route.body])
    bound = [variable.field for variable in route.template.variables]
    return schemas.of_fields(request, bound) if bound else schemas.of_message(request)


def _parameter_names(template: Template) -> dict[int, str]:
    """The names of the template's wildcards, by the index of their segment."""
    names: dict[int, str] = {}
    for variable in template.variables:
        wildcards = [index for index in range(variable.start, variable.end) if _is_wildcard(template, index)]
        for number, index in enumerate(wildcards, 1):
            names[index] = variable.field if len(wildcards) == 1 else f"{variable.field}.{number}"
    for index in range(len(template.segments)):
        if _is_wildcard(template, index):
            names.setdefault(index, f"segment.{index}")
    return names


def _is_wildcard(template: Template, index: int) -> bool:
    return template.segments[index] in {"*", "**"}


def _path(template: Template, names: Mapping[int, str]) -> str:
    segments = (f"{{{names[index]}}}" if index in names else text for index, text in enumerate(template.segments))
    return "/" + "/".join(segments) + (f":{template.verb}" if template.verb else "")


def _path_parameters(route: Route, names: Mapping[int, str], schemas: MessageSchemas) -> Iterator[Schema]:
    for index, name in names.items():
        variable = next((v for v in route.template.variables if v.start <= index < v.end), None)
        fields = resolve(route.rpc.input_type, variable.field) if variable else None
        whole = fields is not None and variable is not None and variable.end - variable.start == 1
        parameter: Schema = {
            "name": name,
            "in": "path",
            "required": True,
            "schema": schemas.of_element(fields[-1]) if fields and whole else {"type": "string"},
        }
        if fields and (comment := schemas.comments.get(fields[-1].full_name)):
            parameter["description"] = comment
        if route.template.segments[index] == "**":
            parameter["x-multi-segment"] = True
        yield parameter


def _query_parameters(route: Route, schemas: MessageSchemas) -> Iterator[Schema]:
    if route.body == "*":
        return
    elsewhere = {variable.field for variable in route.template.variables} | {route.body}
    for name, path, field in _leaves(route.rpc.input_type, "", "", ()):
        if any(path == taken or path.startswith(f"{taken}.") for taken in elsewhere if taken):
            continue
        parameter: Schema = {"name": name, "in": "query", "schema": schemas.of_field(field)}
        if comment := schemas.comments.get(field.full_name):
            parameter["description"] = comment
        if is_map(field):
            parameter |= {"style": "deepObject", "explode": True}
        yield parameter


def _leaves(
    message: Descriptor, name: str, path: str, inside: tuple[Descriptor, ...]
) -> Iterator[tuple[str, str, FieldDescriptor]]:
    """The fields that a query can set: name in JSON, path in the message, and the field."""
    for field in message.fields:
        here, there = name + field.json_name, path + field.name
        if is_map(field) or is_text(field):
            yield here, there, field
        elif field.message_type is None or field.is_repeated or has_json_of_its_own(field):
            continue
        elif field.message_type not in (*inside, message):
            # A message that holds itself would have no end.
            yield from _leaves(field.message_type, f"{here}.", f"{there}.", (*inside, message))
