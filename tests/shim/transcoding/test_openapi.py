import re
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from breezeway.v1 import run_pb2, run_service_pb2
from breezeway_shim.middleware import identify
from breezeway_shim.transcoding.openapi.document import build_document
from breezeway_shim.transcoding.rules import routes_of
from google.protobuf.descriptor import ServiceDescriptor
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.fake_server import FakeServer


@pytest.fixture
async def document(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get("/openapi.json") as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
    return found


def of_foreign(messaging: ServiceDescriptor) -> dict[str, Any]:
    return build_document(web.Application(middlewares=[identify]), list(routes_of(messaging)), {})


def test_the_document_of_a_foreign_service_is_valid(messaging: ServiceDescriptor) -> None:
    document = of_foreign(messaging)
    OpenAPIV31SpecValidator(document).validate()
    assert set(document["paths"]) >= {
        "/v1/messages/{name}",
        "/v1/users/{user_id}/messages/{message_id}",
        "/v1/messages:search",
        "/v1/rooms/{sub.name.1}/messages/{sub.name.2}",
        "/v1/files/{name}",
    }
    # REPORT has no place in OpenAPI; a rule for any method has several.
    assert set(document["paths"]["/v1/messages"]) == {"post"}
    assert set(document["paths"]["/v1/anything/{name}"]) == {"get", "put", "post", "delete", "patch"}


def test_parameters_are_what_path_and_body_do_not_bind(messaging: ServiceDescriptor) -> None:
    paths = of_foreign(messaging)["paths"]
    patch = paths["/v1/rooms/{sub.name.1}/messages/{sub.name.2}"]["patch"]
    names = {parameter["name"] for parameter in patch["parameters"] if parameter["in"] == "query"}
    assert "messageId" in names
    assert not any(name.startswith("sub.") for name in names)
    assert patch["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/messaging.v1.Everything"
    }
    # The variable is called as in the first rule of that shape: to OpenAPI the two paths are one.
    replace = paths["/v1/messages/{name}"]["put"]
    assert "messageId" not in replace["requestBody"]["content"]["application/json"]["schema"]["properties"]
    search = {parameter["name"]: parameter for parameter in paths["/v1/messages:search"]["get"]["parameters"]}
    assert search["labels"]["style"] == "deepObject"
    assert search["color"]["schema"] == {"$ref": "#/components/schemas/messaging.v1.Color"}
    assert "object" not in search
    # A message that holds itself would have no end of parameters.
    assert "sub.color" not in search


async def test_the_document_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_every_operation_is_described(document: dict[str, Any]) -> None:
    operations = {
        f"{method} {path}": operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    for name, operation in operations.items():
        assert operation["summary"].strip(), name
        assert operation["description"].startswith(operation["summary"]), name
        # The dialects' parameters are OpenAI's, who describes them.
        for parameter in operation["parameters"] if " /api/" in name else []:
            assert parameter["description"].strip(), (name, parameter)
    told = operations["post /api/runs/{run_id}:cancel"]
    assert told["summary"].endswith(".")
    assert len(told["summary"]) < len(told["description"])
    services = {operation["tags"][0] for name, operation in operations.items() if " /api/" in name}
    assert {tag["name"] for tag in document["tags"] if tag["description"]} == services


async def test_every_message_and_property_of_the_contract_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    ours = {name: schema for name, schema in schemas.items() if name.startswith(("breezeway.v1.", "google.rpc."))}
    assert len(ours) > 50
    for name, schema in ours.items():
        assert schema["description"].strip(), name
        for key, part in schema.get("properties", {}).items():
            assert part["description"].strip(), (name, key)
        for value in schema.get("enum", ()):
            assert f"- `{value}`: " in schema["description"], (name, value)
    assert schemas["breezeway.v1.Job"]["properties"]["prompt"]["description"].startswith("What is said to the agent")


async def test_every_operation_of_the_document_exists(http: aiohttp.ClientSession, document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method in item:
            url = re.sub(r"\{[^{}]+\}", "x", path)
            # Without the replies that the fake server was not given: a route is there if it is not 404 by path or 405.
            async with http.request(method, url, data=b"{") as answer:
                assert answer.status != 405, (method, path)
                assert f"There is no {url};" not in await answer.text(), (method, path)


async def test_every_path_is_in_the_document(http: aiohttp.ClientSession, document: dict[str, Any]) -> None:
    async with http.get("/") as answer:
        endpoints = (await answer.json())["endpoints"]
    for endpoint in endpoints:
        method, _, path = endpoint.partition(" ")
        assert method == "*" or method.lower() in document["paths"][path]
    assert "/api/runs/{run_id}:cancel" in document["paths"]
    assert "Last-Event-ID" in str(document["paths"]["/api/runs/{run_id}/events"]["get"]["parameters"])


async def test_bodies_and_errors_of_the_dialects_are_described(document: dict[str, Any]) -> None:
    chat = document["paths"]["/v1/chat/completions"]["post"]
    reference = chat["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert schema["required"] == ["model", "messages"]
    assert schema["properties"]["n"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 128}
    assert set(chat["responses"]["2XX"]["content"]) == {"application/json", "text/event-stream"}
    assert chat["responses"]["default"] == {"$ref": "#/components/responses/Error"}
    assert document["paths"]["/api/runs"]["post"]["responses"]["default"] == {"$ref": "#/components/responses/Status"}


async def test_a_reply_and_an_error_fit_their_schemas(
    http: aiohttp.ClientSession, server: FakeServer, document: dict[str, Any]
) -> None:
    run = run_pb2.Run(
        id="run_1", spec=run_pb2.RunSpec(agent="demo", metadata={"a": "b"}), state=run_pb2.RUN_STATE_FAILED
    )
    run.create_time.GetCurrentTime()
    run.error.retry_after.FromMilliseconds(1500)
    run.spec.sampling.temperature = 0.5
    server.replies = {"GetRun": run_service_pb2.GetRunResponse(run=run)}

    def check(value: Any, name: str) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(value)

    async with http.get("/api/runs/run_1") as answer:
        check(await answer.json(), "breezeway.v1.GetRunResponse")
    async with http.get("/api/nothing") as answer:
        check(await answer.json(), "google.rpc.Status")
    async with http.get("/v1/nothing") as answer:
        check(await answer.json(), "Error")


async def test_the_page_needs_nothing_from_anywhere_else(http: aiohttp.ClientSession) -> None:
    async with http.get("/docs") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "/openapi.json" in page
    assert not re.search(r"https?://", page)
    assert page.count("<script>") == 1
    # What is inline is allowed by its hash, and nothing else.
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    assert "connect-src 'self'" in policy
