"""From path variables, query and body to the request message."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from breezeway_shim.transcoding.faults import Fault
from breezeway_shim.transcoding.fields import expected, kind_of, resolve
from breezeway_shim.transcoding.json_in import decode_json, merge_json
from breezeway_shim.transcoding.query import read_query
from breezeway_shim.transcoding.rules import Route


def read_request(route: Route, variables: Mapping[str, str], query: str, body: bytes) -> Message:
    """Return the request of a call. Raises `Fault`; nothing that the caller gave is left out in silence."""
    kind = route.rpc.input_type
    request: Message = GetMessageClass(kind)()
    _merge_body(route, request, body)
    if query:
        elsewhere = [*variables, *([route.body] if route.body else [])]
        if route.body == "*":
            # "If body is *, there is no URL query parameter".
            elsewhere = [field.name for field in kind.fields]
        merge_json(request, read_query(query, kind, elsewhere))
    _merge_path(request, variables)
    return request


def takes_key(kind: Descriptor) -> bool:
    """Tell whether a request of this kind can be named by its caller, so that a repeat of it is the same."""
    field = kind.fields_by_name.get("request_id")
    return field is not None and field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated


def take_key(request: Message, key: str) -> None:
    """Let the request have an idempotency key as its `request_id`, where it has such a field. Raises `Fault`."""
    if not key or not takes_key(kind_of(request)):
        return
    if _value(request, "request_id") not in {"", key}:
        raise Fault("Idempotency-Key", "is another than the request's request_id")
    merge_json(request, {"request_id": key})


def _merge_body(route: Route, request: Message, body: bytes) -> None:
    if not body.strip():
        # A call without arguments needs no body, also where it could have one.
        return
    if route.body == "*":
        merge_json(request, decode_json(body))
    elif route.body:
        merge_json(request, {route.body: decode_json(body)})
    elif decode_json(body) != {}:
        raise Fault("", "must have no body: this call takes its parameters from path and query")


def _merge_path(request: Message, variables: Mapping[str, str]) -> None:
    kind = kind_of(request)
    bound: Message = GetMessageClass(kind)()
    for path, text in variables.items():
        merge_json(bound, _nested(path, _scalar(kind, path, text)))
    for path in variables:
        # The body may repeat what the path says, as clients do that send back what they got; it may not contradict.
        given = _value(request, path)
        if given and given != _value(bound, path):
            raise Fault(path, "is another in the body than in the path")
    request.MergeFrom(bound)


def _scalar(kind: Descriptor, path: str, text: str) -> Any:
    fields = resolve(kind, path)
    assert fields is not None, "rules are checked when they are read"
    if fields[-1].type != FieldDescriptor.TYPE_BOOL:
        return text
    if text not in {"true", "false"}:
        raise Fault(path, f"must be {expected(fields[-1])}")
    return text == "true"


def _nested(path: str, value: Any) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    nested: dict[str, Any] = value
    return nested


def _value(message: Message, path: str) -> Any:
    value: Any = message
    for name in path.split("."):
        value = getattr(value, name)
    return value
