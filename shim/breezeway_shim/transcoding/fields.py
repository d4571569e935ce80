"""Fields of messages: finding them by name and by path, and what JSON they take."""

from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TEXTS = {
    "google.protobuf.Timestamp": "a time such as 2026-01-31T12:00:00Z",
    "google.protobuf.Duration": "a number of seconds such as 1.5s",
    "google.protobuf.FieldMask": "names of fields, in lowerCamelCase, with commas in between",
}
_VALUES = {
    "google.protobuf.Any": 'an object with "@type", the name of a known message, and its fields',
    "google.protobuf.Struct": "a JSON object that is not nested too deeply",
    "google.protobuf.ListValue": "a JSON array that is not nested too deeply",
    "google.protobuf.Value": "JSON that is not nested too deeply",
}

_Field = FieldDescriptor
_SCALARS = {
    **dict.fromkeys((_Field.TYPE_INT32, _Field.TYPE_SINT32, _Field.TYPE_SFIXED32), "a 32-bit integer"),
    **dict.fromkeys((_Field.TYPE_UINT32, _Field.TYPE_FIXED32), "a 32-bit integer from 0"),
    **dict.fromkeys((_Field.TYPE_INT64, _Field.TYPE_SINT64, _Field.TYPE_SFIXED64), "a 64-bit integer"),
    **dict.fromkeys((_Field.TYPE_UINT64, _Field.TYPE_FIXED64), "a 64-bit integer from 0"),
    _Field.TYPE_FLOAT: "a number of single precision",
    _Field.TYPE_DOUBLE: "a number",
    _Field.TYPE_BOOL: "true or false",
    _Field.TYPE_STRING: "a string",
    _Field.TYPE_BYTES: "base64 text",
}


def kind_of(message: Message) -> Descriptor:
    """Return what kind of message it is."""
    # Its stub names the descriptor's implementations one by one; at run time they are one class.
    return cast("Descriptor", message.DESCRIPTOR)


def pool_of(kind: Descriptor) -> DescriptorPool:
    """Return the pool that the message comes from, which knows the messages that it may hold."""
    return kind.file.pool


def parent_of(field: FieldDescriptor) -> Descriptor:
    """Return the message that the field belongs to."""
    assert field.containing_type is not None, "only extensions belong to none, and JSON does not name these"
    return field.containing_type


def map_entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Return the fields for key and value of a map."""
    assert field.message_type is not None, "a map is a list of pairs, which are messages"
    return field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]


def find_field(message: Descriptor, name: str) -> FieldDescriptor | None:
    """Return the field of that name, in its proto or its JSON spelling; None where there is none."""
    field = message.fields_by_name.get(name)
    return field or next((field for field in message.fields if field.json_name == name), None)


def resolve(message: Descriptor, path: str) -> list[FieldDescriptor] | None:
    """Return the fields of a dotted path, outermost first; None where it leads nowhere or through a repeated field."""
    fields: list[FieldDescriptor] = []
    inside: Descriptor | None = message
    for name in path.split("."):
        field = find_field(inside, name) if inside is not None else None
        if field is None:
            return None
        fields.append(field)
        inside = None if field.is_repeated or has_json_of_its_own(field) else field.message_type
    return fields


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether it is a map."""
    return field.is_repeated and field.message_type is not None and field.message_type.GetOptions().map_entry


def has_json_of_its_own(field: FieldDescriptor) -> bool:
    """Tell whether it is a message whose JSON is not an object of its fields, such as a timestamp."""
    return field.message_type is not None and field.message_type.full_name in WRAPPERS | _TEXTS.keys() | _VALUES.keys()


def is_text(field: FieldDescriptor) -> bool:
    """Tell whether one value of it can be written as plain text, as in a query."""
    if field.message_type is None:
        return True
    return field.message_type.full_name in WRAPPERS | _TEXTS.keys()


def scalar_of(field: FieldDescriptor) -> FieldDescriptor:
    """Return the field that holds the value: that of the wrapper for a wrapper, else the field itself."""
    if field.message_type is not None and field.message_type.full_name in WRAPPERS:
        return field.message_type.fields_by_name["value"]
    return field


def expected(field: FieldDescriptor) -> str:
    """Say what one value of the field must be, for a message to the caller."""
    field = scalar_of(field)
    if field.enum_type is not None:
        return "one of " + ", ".join(value.name for value in field.enum_type.values)
    if field.message_type is None:
        return _SCALARS[field.type]
    name = field.message_type.full_name
    return _TEXTS.get(name) or _VALUES.get(name) or "a JSON object"
