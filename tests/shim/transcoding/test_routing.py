import pytest
from breezeway_shim.transcoding import native
from breezeway_shim.transcoding.routing import NoSuchMethod, NoSuchPath, Router
from breezeway_shim.transcoding.rules import Route, RuleError, routes_of
from breezeway_shim.transcoding.template import Template
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool


def router(messaging: ServiceDescriptor, *rules: tuple[str, str]) -> Router:
    rpc: MethodDescriptor = messaging.methods[0]
    return Router(Route(rpc, method, Template(template), "", "") for method, template in rules)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/a/b", "/a/b"),
        ("/a/x", "/a/{id}"),
        ("/a/b/c", "/a/b/{rest=**}"),
        ("/a/x/c", "/a/*/c"),
        ("/a/x/d", "/a/**"),
        ("/a", "/a/**"),
        ("/a/x:go", "/a/{id}:go"),
        ("/a/x:other", "/a/{id}"),
    ],
)
def test_the_most_specific_template_is_taken(messaging: ServiceDescriptor, path: str, template: str) -> None:
    templates = ["/a/**", "/a/{id}", "/a/b", "/a/*/c", "/a/b/{rest=**}", "/a/{id}:go"]
    for order in (templates, templates[::-1]):
        route, _ = router(messaging, *(("GET", text) for text in order)).find("GET", path)
        assert route.template.text == template


def test_the_method_decides_among_the_templates_of_a_path(messaging: ServiceDescriptor) -> None:
    found = router(messaging, ("GET", "/a/{id}"), ("POST", "/a/b"), ("*", "/a/{id}"), ("PUT", "/c"))
    assert found.find("GET", "/a/b")[0].template.text == "/a/{id}"
    assert found.find("POST", "/a/b")[0].template.text == "/a/b"
    assert found.find("GET", "/a/x")[0].http_method == "GET"
    assert found.find("DELETE", "/a/x")[0].http_method == "*"


def test_a_wrong_method_says_which_are_right(messaging: ServiceDescriptor) -> None:
    found = router(messaging, ("PUT", "/a/{id}"), ("GET", "/a/b"), ("POST", "/c"))
    with pytest.raises(NoSuchMethod) as caught:
        found.find("DELETE", "/a/b")
    assert caught.value.allowed == ["GET", "PUT"]
    with pytest.raises(NoSuchPath):
        found.find("GET", "/b")


@pytest.mark.parametrize(
    ("one", "other"), [("/a/{id}", "/a/{name}"), ("/{name=a/*}", "/a/{id}"), ("/a/{x=**}", "/a/**"), ("/a:b", "/a:b")]
)
def test_two_rules_for_the_same_requests_are_an_error_at_the_start(
    messaging: ServiceDescriptor, one: str, other: str
) -> None:
    with pytest.raises(RuleError, match="the same rule"):
        router(messaging, ("GET", one), ("GET", other))
    router(messaging, ("GET", one), ("POST", other))


def service(rule: http_pb2.HttpRule, *, client_streaming: bool = False) -> ServiceDescriptor:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="rules.proto", package="rules", syntax="proto3")
    message = file.message_type.add(name="Request")
    message.field.add(name="id", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(name="ids", number=2, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    message.field.add(
        name="sub", number=3, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=".rules.Request"
    )
    rpc = file.service.add(name="Rules").method.add(
        name="Call", input_type=".rules.Request", output_type=".rules.Request", client_streaming=client_streaming
    )
    rpc.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("rules.Rules")


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (http_pb2.HttpRule(), "no pattern"),
        (http_pb2.HttpRule(get="a"), "not a path template"),
        (http_pb2.HttpRule(get="/{nothing}"), "nothing"),
        (http_pb2.HttpRule(get="/{id.sub}"), "id.sub"),
        # "The path variables must not refer to any repeated or mapped field", and are of a primitive type.
        (http_pb2.HttpRule(get="/{ids}"), "single scalar"),
        (http_pb2.HttpRule(get="/{sub}"), "single scalar"),
        (http_pb2.HttpRule(post="/a", body="nothing"), "body names 'nothing'"),
        # "The referred field must be present at the top-level."
        (http_pb2.HttpRule(post="/a", body="sub.id"), "body names 'sub.id'"),
        (http_pb2.HttpRule(get="/a", response_body="x"), "response_body names 'x'"),
        (
            http_pb2.HttpRule(
                get="/a",
                additional_bindings=[
                    http_pb2.HttpRule(get="/b", additional_bindings=[http_pb2.HttpRule(get="/c")]),
                ],
            ),
            "nested",
        ),
    ],
)
def test_a_rule_that_does_not_fit_its_messages_is_an_error_at_the_start(rule: http_pb2.HttpRule, fault: str) -> None:
    with pytest.raises(RuleError, match=fault):
        list(routes_of(service(rule)))


def test_a_call_that_takes_a_stream_is_an_error_at_the_start() -> None:
    with pytest.raises(RuleError, match="takes a stream"):
        list(routes_of(service(http_pb2.HttpRule(get="/a"), client_streaming=True)))


def test_every_rule_of_the_contract_is_served() -> None:
    routes = [route for service in native.services() for route in routes_of(service)]
    Router(routes)
    assert {route.rpc.full_name for route in routes} >= {
        "breezeway.v1.RunService.CreateRun",
        "breezeway.v1.StreamService.FollowRun",
        "breezeway.v1.StoreService.ListRunItems",
        "breezeway.v1.AgentRegistryService.ListAgents",
    }
    assert all(route.template.text.startswith("/api/") for route in routes)
