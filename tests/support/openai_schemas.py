"""What OpenAI publishes, as judge: the official SDK's types always, the JSON schemas where a copy of them is there."""

import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from jsonschema import Draft202012Validator
from openai import omit
from openai._models import construct_type_unchecked
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

# Null where OpenAI's schema has no null. Its own API answers so, and other readers of it ask for the keys.
_NULLABLE = frozenset({"usage", "user", "description"})


def sse_events(body: bytes) -> list[dict[str, Any]]:
    """The data of each event of a stream; asserts that its name is its type."""
    events = []
    for frame in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def check_events(events: Iterable[Mapping[str, Any]]) -> None:
    """Assert that the official SDK takes each event, strictly, and that its accumulator takes their order."""
    state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        _event_types()[event["type"]].model_validate_json(json.dumps(event), strict=True)
        state.handle_event(construct_type_unchecked(value=dict(event), type_=cast("Any", ResponseStreamEvent)))


def check_response(response: Mapping[str, Any]) -> None:
    """Assert that the official SDK takes the response object, strictly."""
    Response.model_validate_json(json.dumps(response), strict=True)


def check_schema(name: str, value: object) -> None:
    """Assert that a value is what OpenAI's schema of that name says. Skips the test where no copy of them is there."""
    path = _schemas()
    if not path.exists():
        pytest.skip(f"there are no OpenAI schemas at {path}; name a copy in BREEZEWAY_OPENAI_SCHEMAS")
    _validator(path, name).validate(_without_allowed_nulls(value))


def check_schema_if_there(name: str, value: object) -> None:
    """Like `check_schema`, for tests that have more to say: passes where no copy of the schemas is there."""
    if _schemas().exists():
        check_schema(name, value)


def _schemas() -> Path:
    beside_the_checkout = Path(__file__).parents[3] / "shared" / "openai-schemas.json"
    return Path(os.environ.get("BREEZEWAY_OPENAI_SCHEMAS") or beside_the_checkout)


@cache
def _event_types() -> Mapping[str, type[BaseModel]]:
    union, *_ = get_args(ResponseStreamEvent)
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(union)}


@cache
def _validator(path: Path, name: str) -> Draft202012Validator:
    document = json.loads(path.read_text())
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(schema)


def _without_allowed_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _without_allowed_nulls(held)
                for key, held in value.items()
                if not (held is None and key in _NULLABLE)
            }
        case list():
            return [_without_allowed_nulls(held) for held in value]
        case _:
            return value
