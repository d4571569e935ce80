"""Values that fit simple JSON Schemas: what the demo answers and calls with when it is asked for a form."""

from typing import Any

_MAX_DEPTH = 12
_WORD = "demo"


def sample(schema: Any) -> Any:
    """The plainest value that fits `schema`, a decoded JSON Schema.

    Knows type, enum, const, default, properties, required, items, anyOf, oneOf, allOf, local $ref, and the limits of
    numbers, strings and arrays; other keywords are not looked at.
    """
    return _sample(schema, schema, 0)


def _sample(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return _WORD
    schema = _resolve(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            # Deep down the shortest way out is best, and null, where it is allowed, is the shortest.
            choices = sorted(schema[key], key=lambda choice: _kind(choice) != "null") if depth > 2 else schema[key]
            return _sample({**{k: v for k, v in schema.items() if k != key}, **_resolve(choices[0], root)}, root, depth)
    return _of_kind(schema, root, depth)


def _of_kind(schema: dict[str, Any], root: Any, depth: int) -> Any:
    match _kind(schema):
        case "object":
            return _object(schema, root, depth)
        case "array":
            count = max(schema.get("minItems", 0), 1 if depth < _MAX_DEPTH // 2 else 0)
            return [_sample(schema.get("items", {}), root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _WORD.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]


def _kind(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "string"
    kind = schema.get("type")
    if isinstance(kind, list):
        return str(kind[0]) if kind else "string"
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    return {
        name: _sample(value, root, depth + 1)
        for name, value in schema.get("properties", {}).items()
        if depth < _MAX_DEPTH // 2 or (name in required and depth < _MAX_DEPTH)
    }


def _number(schema: dict[str, Any]) -> float:
    value = 1
    if "exclusiveMinimum" in schema:
        value = max(value, int(schema["exclusiveMinimum"] // 1) + 1)
    if "minimum" in schema:
        value = max(value, int(-(-schema["minimum"] // 1)))
    if "exclusiveMaximum" in schema:
        value = min(value, int(-(-schema["exclusiveMaximum"] // 1)) - 1)
    return min(value, schema["maximum"]) if "maximum" in schema else value


def _resolve(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged = dict(schema)
    for _ in range(_MAX_DEPTH):
        reference = merged.pop("$ref", None)
        parts = merged.pop("allOf", None)
        if reference is None and not parts:
            break
        if isinstance(reference, str):
            merged = {**_at(reference, root), **merged}
        for part in parts or ():
            merged = {**merged, **part, "properties": {**merged.get("properties", {}), **part.get("properties", {})}}
    return merged


def _at(reference: str, root: Any) -> dict[str, Any]:
    found = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
