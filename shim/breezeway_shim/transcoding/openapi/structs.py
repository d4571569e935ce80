"""JSON Schemas of msgspec's Structs, which say what the dialects take."""

from collections.abc import Mapping

import msgspec
from msgspec import inspect

from breezeway_shim.transcoding.openapi.messages import Schema, reference

# From msgspec's names of what is allowed to JSON Schema's.
_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "pattern": "pattern",
    "min_length": "minLength",
    "max_length": "maxLength",
}
_ITEMS = {"min_length": "minItems", "max_length": "maxItems"}
_SCALARS: Mapping[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.NoneType: "null",
}


class StructSchemas:
    """Collects the schemas of all Structs that it was asked for, and of those in them.

    msgspec's own generator does not take fields whose default is a Raw.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, struct: type[msgspec.Struct]) -> Schema:
        """Return a reference to the Struct's schema."""
        return self._of(inspect.type_info(struct))

    def _of(self, info: inspect.Type) -> Schema:
        match info:
            case inspect.StructType():
                return self._of_struct(info)
            case inspect.Metadata():
                return self._of(info.type)
            case inspect.UnionType():
                return {"anyOf": [self._of(member) for member in info.types]}
            case inspect.ListType():
                return {"type": "array", "items": self._of(info.item_type), **_limits(info, _ITEMS)}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self._of(info.value_type)}
            case inspect.LiteralType():
                return {"enum": list(info.values)}
            case _ if type(info) in _SCALARS:
                return {"type": _SCALARS[type(info)], **_limits(info, _BOUNDS)}
            case _:
                # Any JSON: looked at further in.
                return {}

    def _of_struct(self, info: inspect.StructType) -> Schema:
        struct = info.cls
        # Dialects use the same words, so the folder belongs to the name.
        name = f"{struct.__module__.split('.')[-2]}.{struct.__name__}"
        if name not in self.components:
            schema: Schema = {"type": "object", "title": struct.__name__, "description": struct.__doc__ or ""}
            self.components[name] = schema
            schema["properties"] = {field.encode_name: self._of(field.type) for field in info.fields}
            if required := [field.encode_name for field in info.fields if field.required]:
                schema["required"] = required
        return reference(name)


def _limits(info: inspect.Type, names: Mapping[str, str]) -> Schema:
    found = {name: getattr(info, limit, None) for limit, name in names.items()}
    return {name: value for name, value in found.items() if value is not None}
