"""JSON to messages: proto3 JSON, strictly, with the path of the fault where it does not fit.

google.protobuf.json_format decides and converts. What it lets pass that is most likely a mistake (a field in both its
spellings, two members of a oneof, characters that are not base64) is looked for before, and where it refuses
something, each value is tried by itself to find out which: its messages do not always say.
"""

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from breezeway_shim.transcoding.faults import Fault, below
from breezeway_shim.transcoding.fields import (
    expected,
    find_field,
    has_json_of_its_own,
    is_map,
    kind_of,
    map_entry,
    parent_of,
    pool_of,
    scalar_of,
)

_MAX_DEPTH = 100
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
# What json_format raises for values that it did not expect.
_REFUSALS = (json_format.ParseError, ValueError, TypeError, KeyError, AttributeError, OverflowError)


class _Leaf(NamedTuple):
    path: str
    field: FieldDescriptor
    value: Any


def decode_json(body: bytes) -> Any:
    """The body as JSON. Raises `Fault` for bytes that are no JSON in UTF-8, and for a key that comes twice."""
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite_float
        )
        if b"\\u" in body:
            # Half a surrogate pair can be escaped, but is no text; protobuf would choke on it in many a place.
            json.dumps(value, ensure_ascii=False).encode()
    except Fault:
        raise
    except RecursionError as error:
        raise Fault("", "is nested too deeply") from error
    except ValueError as error:
        # Also bytes and escapes that are no text, and integers of thousands of digits.
        raise Fault("", "is not valid JSON in UTF-8") from error
    return value


def merge_json(message: Message, value: Any) -> None:
    """Put the fields of a JSON object into `message`. Raises `Fault` where they do not fit."""
    kind = kind_of(message)
    for leaf in _leaves(value, kind, "", 0):
        _refuse_leniency(leaf)
    try:
        json_format.ParseDict(value, message, descriptor_pool=pool_of(kind), max_recursion_depth=_MAX_DEPTH)
    except _REFUSALS as error:
        for leaf in _leaves(value, kind, "", 0):
            _refuse_misfit(leaf)
        raise Fault("", "does not fit") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, part in pairs:
        if key in value:
            raise Fault(key, "is given twice in one object")
        value[key] = part
    return value


def _no_constant(name: str) -> Any:
    raise Fault("", f"holds {name}, which is not JSON; write it as a string")


def _finite_float(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise Fault("", f"holds the number {text[:40]}, which is too large")
    return number


def _leaves(value: Any, message: Descriptor, path: str, depth: int) -> Iterator[_Leaf]:
    """Yield the values that are not objects of fields. Raises `Fault` where the structure is not that of `message`."""
    if not isinstance(value, dict):
        raise Fault(path, "must be a JSON object")
    if depth > _MAX_DEPTH:
        raise Fault(path, "is nested too deeply")
    given: dict[str, str] = {}
    for name, part in value.items():
        here = below(path, name)
        field = find_field(message, name)
        if field is None:
            raise Fault(here, f"is not known: {message.full_name} has no such field")
        _refuse_repetition(given, field, here, is_set=part is not None)
        if part is not None:
            yield from _field_leaves(part, field, here, depth)


def _refuse_repetition(given: dict[str, str], field: FieldDescriptor, path: str, *, is_set: bool) -> None:
    if other := given.get(field.full_name):
        raise Fault(path, f"is given twice, also as {other}")
    given[field.full_name] = path
    oneof = field.containing_oneof
    if oneof is None or not is_set:
        return
    if other := given.get(oneof.full_name):
        raise Fault(path, f"cannot be given together with {other}")
    given[oneof.full_name] = path


def _field_leaves(value: Any, field: FieldDescriptor, path: str, depth: int) -> Iterator[_Leaf]:
    if is_map(field):
        if not isinstance(value, dict):
            raise Fault(path, "must be a JSON object")
        of_key, of_value = map_entry(field)
        for key, element in value.items():
            yield _Leaf(f"{path}[{key}]", of_key, key)
            yield from _element_leaves(element, of_value, f"{path}[{key}]", depth)
    elif field.is_repeated:
        if not isinstance(value, list):
            raise Fault(path, "must be a JSON array")
        for index, element in enumerate(value):
            yield from _element_leaves(element, field, f"{path}[{index}]", depth)
    else:
        yield from _element_leaves(value, field, path, depth)


def _element_leaves(value: Any, field: FieldDescriptor, path: str, depth: int) -> Iterator[_Leaf]:
    if field.message_type is None or has_json_of_its_own(field):
        yield _Leaf(path, field, value)
    else:
        yield from _leaves(value, field.message_type, path, depth + 1)


def _refuse_leniency(leaf: _Leaf) -> None:
    """Raise `Fault` for what json_format would take for something else."""
    field = scalar_of(leaf.field)
    value = leaf.value
    if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, str):
        # Four characters are three bytes; one alone is none.
        fits = _BASE64.fullmatch(value) is not None and len(value.rstrip("=")) % 4 != 1
    elif field.enum_type is not None:
        fits = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)) or value is None
    elif field.cpp_type in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}:
        fits = not isinstance(value, bool)
    else:
        fits = True
    if not fits:
        raise Fault(leaf.path, f"must be {expected(leaf.field)}")


def _refuse_misfit(leaf: _Leaf) -> None:
    """Raise `Fault` where json_format refuses the value by itself."""
    parent = parent_of(leaf.field)
    value = [leaf.value] if leaf.field.is_repeated else leaf.value
    is_key = leaf.field.type == FieldDescriptor.TYPE_BOOL and parent.GetOptions().map_entry and leaf.field.name == "key"
    if is_key and isinstance(value, str):
        # The keys of a JSON object are strings, whatever they stand for.
        value = {"true": True, "false": False}.get(value, value)
    try:
        json_format.ParseDict({leaf.field.name: value}, GetMessageClass(parent)(), descriptor_pool=pool_of(parent))
    except _REFUSALS as error:
        raise Fault(leaf.path, f"must be {expected(leaf.field)}") from error
    # By itself null means "not set"; inside a map it is an element that is none. Whatever else fits alone is not it.
    if leaf.value is None and (
        leaf.field.message_type is None or leaf.field.message_type.full_name != "google.protobuf.Value"
    ):
        raise Fault(leaf.path, f"must be {expected(leaf.field)}, not null")
