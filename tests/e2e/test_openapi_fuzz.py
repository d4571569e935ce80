"""The running system against its own OpenAPI document: requests are drawn from it, and answers are held against it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.patience import PATIENCE
from tests.support.system import System

Operation = schemathesis.APIOperation[Any, Any, Any, Any]
Case = schemathesis.Case[Operation]

ROOT_KEY = "fuzz-root-key-of-thirty-two-characters"
ROOT = {"Authorization": f"Bearer {ROOT_KEY}"}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPEN = {"/", "/docs", "/openapi.json", "/alive", "/ready", "/health", "/v1/health"}


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    """A system of the test's own: profiles, jobs and runs of chance would disturb others.

    It has a key from the start. Without, the first that a test creates would shut out all that comes after.
    """
    with System.serving(tmp_path, environ={"BREEZEWAY_API_KEYS": ROOT_KEY}) as system:
        yield system


def document_of(system: System) -> schemathesis.schemas.BaseSchema:
    config = schemathesis.Config.from_dict({"seed": 1})
    return schemathesis.openapi.from_url(f"{system.url}/openapi.json", config=config, timeout=PATIENCE)


def operations_of(system: System) -> Sequence[Operation]:
    # Raises where one of them is not valid.
    return [found.ok() for found in document_of(system).get_all_operations() if isinstance(found, Ok)]


def made_in(system: System) -> Mapping[str, str]:
    """What there is to be looked at and changed, by the names that paths have for it."""

    def create(path: str, body: Any) -> Any:
        answer = requests.post(f"{system.url}{path}", json=body, headers=ROOT, timeout=PATIENCE)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    response = create("/v1/responses", {"model": "demo", "input": "What is 2 + 2?", "conversation": "talk"})
    chat = create(
        "/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "store": True}
    )
    job = {"name": "plants", "schedule": "every 2h", "prompt": "Water the plants."}
    profile = {"name": "helper", "config": {"kind": "llm", "model": "m", "base_url": "http://127.0.0.1:1/v1"}}
    create("/api/profiles", profile)
    return {
        "run_id": response["id"],
        "response_id": response["id"],
        "completion_id": chat["id"],
        "conversation_id": "talk",
        "item_id": response["output"][-1]["id"],
        "job_id": create("/api/jobs", job)["job"]["id"],
        "key_id": create("/api/keys", {"scopes": ["KEY_SCOPE_READ"]})["key"]["id"],
        "name": "helper",
        "model": "demo",
    }


def aim(case: Case, made: Mapping[str, str]) -> None:
    """Let the request be about something that there is: texts of chance name nothing."""
    case.path_parameters = {name: made.get(name, value) for name, value in (case.path_parameters or {}).items()}
    body: Any = case.body
    if isinstance(body, dict):
        if "model" in body:
            body["model"] = "demo"
        if isinstance(body.get("spec"), dict):
            body["spec"]["agent"] = "demo"


def conforms(
    operation: Operation, mode: schemathesis.GenerationMode, made: Mapping[str, str], settings: settings
) -> None:
    """Ask a few requests of the operation."""

    @settings
    @given(case=operation.as_strategy(generation_mode=mode), aimed=strategies.booleans())
    def answers_as_documented(case: Case, *, aimed: bool) -> None:
        if aimed:
            aim(case, made)
        case.call_and_validate(checks=CHECKS, headers=ROOT, timeout=PATIENCE)

    answers_as_documented()


def can_be_contradicted(operation: Operation) -> bool:
    """Whether anything that is sent contradicts the schema: where all there is are texts of a path, nothing does."""
    parameters = ((parameter.location, parameter.definition["schema"]) for parameter in operation.iter_parameters())
    return bool(operation.body) or any(each != (ParameterLocation.PATH, {"type": "string"}) for each in parameters)


@pytest.mark.timeout(400)
def test_every_operation_answers_as_it_is_documented(own: System, subtests: pytest.Subtests) -> None:
    made = made_in(own)
    # What is deleted cannot be asked for any more.
    for operation in sorted(operations_of(own), key=lambda operation: operation.method == "delete"):
        with subtests.test(operation.label):
            conforms(operation, schemathesis.GenerationMode.POSITIVE, made, bounded(3))
        if can_be_contradicted(operation):
            with subtests.test(operation.label, mode="negative"):
                conforms(operation, schemathesis.GenerationMode.NEGATIVE, made, bounded(2))


@pytest.mark.timeout(400)
def test_strangers_and_keys_without_the_scope_are_refused_as_documented(own: System, subtests: pytest.Subtests) -> None:
    made = requests.post(f"{own.url}/api/keys", json={"scopes": ["KEY_SCOPE_READ"]}, headers=ROOT, timeout=PATIENCE)
    assert made.status_code == 200, made.text
    reader = {"Authorization": f"Bearer {made.json()['secret']}"}
    met = set()
    for operation in operations_of(own):
        for who, headers, allowed in (("stranger", {}, {401}), ("reader", reader, {200, 400, 403, 404, 422})):
            with subtests.test(operation.label, who=who):
                case = operation.Case(path_parameters=dict.fromkeys(names_in(operation.path), "x"), headers=headers)
                answer = case.call(timeout=PATIENCE)
                case.validate_response(answer, checks=CHECKS)
                assert answer.status_code in ({200} if operation.path in OPEN else allowed), answer.text
                met.add(answer.status_code)
    assert met >= {200, 401, 403}


def names_in(path: str) -> list[str]:
    return [piece.partition("}")[0] for piece in path.split("{")[1:]]
