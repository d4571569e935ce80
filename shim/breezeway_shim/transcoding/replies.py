"""From reply messages to JSON."""

from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from breezeway_shim.transcoding.fields import kind_of, pool_of
from breezeway_shim.transcoding.rules import Route
from breezeway_shim.transcoding.status import no_json


def write_reply(route: Route, reply: Message) -> bytes:
    """Return the JSON of a reply, or of the field that the route names as the body.

    Fields that have their default are there too, unless they can be told apart from being unset: a client finds an
    empty list where it looks for a list. Raises `StatusError` where there is no JSON for it.
    """
    try:
        return msgspec.json.encode(_json(route, reply))
    except (json_format.SerializeToJsonError, TypeError, ValueError, DecodeError) as error:
        raise no_json(route.rpc.full_name) from error


def _json(route: Route, reply: Message) -> Any:
    if not route.response_body:
        return _message_json(reply)
    field = reply.DESCRIPTOR.fields_by_name[route.response_body]
    if field.type == FieldDescriptor.TYPE_MESSAGE and not field.is_repeated:
        return _message_json(getattr(reply, field.name))
    # An optional scalar that is not set is the one that is left out.
    return _message_json(reply).get(field.json_name)


def _message_json(message: Message) -> Any:
    return json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, descriptor_pool=pool_of(kind_of(message))
    )
