"""JSON Schemas of messages, as proto3 JSON writes and reads them."""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from breezeway_shim.transcoding.fields import WRAPPERS, is_map, map_entry

Schema = dict[str, Any]

_Field = FieldDescriptor
_SIGNED_32 = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_UNSIGNED_32 = {"type": "integer", "format": "uint32", "minimum": 0, "maximum": 2**32 - 1}
# Integers of 64 bits are strings, because JavaScript's numbers cannot hold them.
_SIGNED_64 = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_UNSIGNED_64 = {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_SCALARS: dict[int, Schema] = {
    **dict.fromkeys((_Field.TYPE_INT32, _Field.TYPE_SINT32, _Field.TYPE_SFIXED32), _SIGNED_32),
    **dict.fromkeys((_Field.TYPE_UINT32, _Field.TYPE_FIXED32), _UNSIGNED_32),
    **dict.fromkeys((_Field.TYPE_INT64, _Field.TYPE_SINT64, _Field.TYPE_SFIXED64), _SIGNED_64),
    **dict.fromkeys((_Field.TYPE_UINT64, _Field.TYPE_FIXED64), _UNSIGNED_64),
    **dict.fromkeys((_Field.TYPE_FLOAT, _Field.TYPE_DOUBLE), _NUMBER),
    _Field.TYPE_BOOL: {"type": "boolean"},
    _Field.TYPE_STRING: {"type": "string"},
    _Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_SPECIAL: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Value": {},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "The URL of the message's type."}},
    },
}


def reference(name: str) -> Schema:
    """Return a reference to the component schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


class MessageSchemas:
    """Collects the schemas of all messages and enums that it was asked for, and of those in them, by full name."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        """`comments` are those of the protos, by full name, as far as they are known."""
        self.comments = comments
        self.components: dict[str, Schema] = {}

    def of_message(self, message: Descriptor) -> Schema:
        """Return a schema for the message; a reference where it is an object of its fields."""
        if message.full_name in _SPECIAL:
            return _SPECIAL[message.full_name]
        if message.full_name in WRAPPERS:
            return {"anyOf": [self.of_element(message.fields_by_name["value"]), {"type": "null"}]}
        if message.full_name not in self.components:
            # Registered before its fields are looked at, which may be messages of the same kind.
            schema = self._described(Schema(title=message.name), message.full_name)
            self.components[message.full_name] = schema
            schema.update(self.of_fields(message))
        return reference(message.full_name)

    def of_fields(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """Return a schema for an object of the message's fields, but for those named."""
        properties = {
            field.json_name: self._described(self.of_field(field), field.full_name)
            for field in message.fields
            if field.name not in without
        }
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def of_field(self, field: FieldDescriptor) -> Schema:
        """Return a schema for the whole field, lists and maps included."""
        if is_map(field):
            return {"type": "object", "additionalProperties": self.of_element(map_entry(field)[1])}
        if field.is_repeated:
            return {"type": "array", "items": self.of_element(field)}
        return self.of_element(field)

    def of_element(self, field: FieldDescriptor) -> Schema:
        """Return a schema for one value of the field."""
        if field.enum_type is not None:
            return self._of_enum(field.enum_type)
        return _SCALARS[field.type] if field.message_type is None else self.of_message(field.message_type)

    def _of_enum(self, enum: EnumDescriptor) -> Schema:
        names = [value.name for value in enum.values]
        schema = self._described({"type": "string", "title": enum.name, "enum": names}, enum.full_name)
        known = {name: self.comments.get(f"{enum.full_name}.{name}", "") for name in names}
        if any(known.values()):
            told = "\n".join(f"- `{name}`: {comment}" for name, comment in known.items())
            schema["description"] = f"{schema.get('description', '')}\n\n{told}".strip()
        self.components[enum.full_name] = schema
        return reference(enum.full_name)

    def _described(self, schema: Schema, name: str) -> Schema:
        comment = self.comments.get(name)
        return {**schema, "description": comment} if comment else schema
