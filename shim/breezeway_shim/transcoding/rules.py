"""The http rules of a service as routes, each checked against the messages that it maps."""

from collections.abc import Iterator
from typing import NamedTuple

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from breezeway_shim.transcoding.fields import resolve
from breezeway_shim.transcoding.template import Template, TemplateError

ANY_METHOD = "*"


class RuleError(ValueError):
    """An http rule that says nothing, or something that its messages do not have."""


class Route(NamedTuple):
    """One binding of one call. `http_method` may be `*`; `body` and `response_body` are as in the rule."""

    rpc: MethodDescriptor
    http_method: str
    template: Template
    body: str
    response_body: str


def routes_of(service: ServiceDescriptor) -> Iterator[Route]:
    """Yield the routes of every call of the service that has a rule. Raises `RuleError`."""
    for rpc in service.methods:
        options = rpc.GetOptions()
        if not options.HasExtension(annotations_pb2.http):
            continue
        if rpc.client_streaming:
            raise RuleError(f"{rpc.full_name} takes a stream, which HTTP/JSON has no form for")
        rule = options.Extensions[annotations_pb2.http]
        for binding in (rule, *rule.additional_bindings):
            if binding is not rule and binding.additional_bindings:
                raise RuleError(f"additional_bindings of {rpc.full_name} are nested")
            yield _route(rpc, binding)


def _route(rpc: MethodDescriptor, rule: http_pb2.HttpRule) -> Route:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise RuleError(f"a rule of {rpc.full_name} has no pattern")
    custom = pattern == "custom"
    try:
        template = Template(rule.custom.path if custom else getattr(rule, pattern))
    except TemplateError as error:
        raise RuleError(f"{rpc.full_name}: {error}") from error
    for variable in template.variables:
        fields = resolve(rpc.input_type, variable.field)
        if fields is None or fields[-1].is_repeated or fields[-1].message_type is not None:
            raise RuleError(f"{rpc.full_name}: {{{variable.field}}} is not a single scalar field")
    _check_top_level(rpc, rpc.input_type, rule.body.removeprefix("*"), "body")
    _check_top_level(rpc, rpc.output_type, rule.response_body, "response_body")
    http_method = rule.custom.kind.upper() if custom else pattern.upper()
    return Route(rpc, http_method, template, rule.body, rule.response_body)


def _check_top_level(rpc: MethodDescriptor, message: Descriptor, field: str, part: str) -> None:
    if field and field not in message.fields_by_name:
        raise RuleError(f"{rpc.full_name}: {part} names {field!r}, which {message.full_name} does not have")
