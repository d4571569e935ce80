"""Profiles as messages: from a Struct to a configuration, and from a profile to what may be shown of it."""

from typing import Any

from breezeway.v1 import agent_pb2
from google.protobuf import struct_pb2

from breezeway_server.errors import InvalidRequest
from breezeway_server.profiles.profiles import Profile

# Above this, a double is not exact.
_MAX_WHOLE = 2**53
_MAX_DEPTH = 16


def config_of(fields: struct_pb2.Struct) -> dict[str, Any]:
    """Return the configuration in a Struct. Raises `InvalidRequest` for numbers that it cannot carry."""
    return {key: _python(value, f"config.{key}", 0) for key, value in fields.fields.items()}


def _python(value: struct_pb2.Value, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidRequest(path, f"{path} is nested too deeply.")
    match value.WhichOneof("kind"):
        case "struct_value":
            fields = value.struct_value.fields
            return {key: _python(part, f"{path}.{key}", depth + 1) for key, part in fields.items()}
        case "list_value":
            parts = value.list_value.values
            return [_python(part, f"{path}[{index}]", depth + 1) for index, part in enumerate(parts)]
        case "number_value":
            return _number(value.number_value, path)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _number(number: float, path: str) -> float:
    if not -_MAX_WHOLE <= number <= _MAX_WHOLE:
        raise InvalidRequest(path, f"{path} must lie between -2^53 and 2^53.")
    # JSON and a Struct know one kind of number; a configuration tells 3 from 3.5.
    return int(number) if number.is_integer() else number


def to_message(profile: Profile) -> agent_pb2.AgentProfile:
    """Return the profile without its secrets."""
    stored = profile.stored
    shown = agent_pb2.AgentProfile(name=stored.name, secret_keys=stored.secret_keys, fault=profile.fault)
    shown.config.update(dict(stored.config))
    shown.create_time.FromNanoseconds(stored.create_time_ns)
    shown.update_time.FromNanoseconds(stored.update_time_ns)
    return shown
