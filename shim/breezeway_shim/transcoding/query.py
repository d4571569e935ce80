"""Query parameters to JSON: names are paths of fields, values are one scalar each."""

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from breezeway_shim.transcoding.faults import Fault
from breezeway_shim.transcoding.fields import expected, is_map, is_text, map_entry, resolve, scalar_of

_NAME = re.compile(r"(?P<path>[^\[\]]+)(?:\[(?P<key>.*)\])?", re.DOTALL)


def read_query(query: str, message: Descriptor, elsewhere: Collection[str]) -> dict[str, Any]:
    """Return the JSON object that the raw query string stands for; `elsewhere` are paths that it must not set.

    A repeated field is given once for each element, and a pair of a map as `field[key]=value`, in which we follow
    grpc-gateway. Raises `Fault`.
    """
    try:
        # What is not encoded in it may be any bytes, and no name of a field.
        query.encode()
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeError as error:
        raise Fault("", "has a query that is not UTF-8") from error
    value: dict[str, Any] = {}
    for name, text in pairs:
        _put(value, message, name, text, elsewhere)
    return value


def _put(value: dict[str, Any], message: Descriptor, name: str, text: str, elsewhere: Collection[str]) -> None:
    found = _NAME.fullmatch(name)
    fields = resolve(message, found["path"]) if found else None
    if found is None or fields is None:
        raise Fault(name, "is not known: the call has no such parameter")
    path = ".".join(field.name for field in fields)
    if any(path == taken or path.startswith(f"{taken}.") for taken in elsewhere):
        raise Fault(name, "cannot be given in the query: it comes in the path or in the body")
    for field in fields[:-1]:
        value = value.setdefault(field.name, {})
    field = fields[-1]
    if found["key"] is not None:
        _put_pair(value, field, name, found["key"], text)
    elif is_map(field) or not is_text(field):
        hint = f"write {name}[key]=value" if is_map(field) else "name one of its fields"
        raise Fault(name, f"cannot be given as a whole in the query; {hint}")
    elif field.is_repeated:
        value.setdefault(field.name, []).append(_scalar(field, name, text))
    elif field.name in value:
        raise Fault(name, "is given twice")
    else:
        value[field.name] = _scalar(field, name, text)


def _put_pair(value: dict[str, Any], field: FieldDescriptor, name: str, key: str, text: str) -> None:
    if not is_map(field):
        raise Fault(name, "is not known: the call has no such parameter")
    _, of_value = map_entry(field)
    if not is_text(of_value):
        raise Fault(name, "cannot be given in the query")
    pairs = value.setdefault(field.name, {})
    if key in pairs:
        raise Fault(name, "is given twice")
    pairs[key] = _scalar(of_value, name, text)


def _scalar(field: FieldDescriptor, name: str, text: str) -> Any:
    """The JSON of a value. Numbers may stay text, which proto3 JSON takes as well."""
    if scalar_of(field).type != FieldDescriptor.TYPE_BOOL:
        return text
    if text not in {"true", "false"}:
        raise Fault(name, f"must be {expected(field)}")
    return text == "true"
