import json
from typing import Any

import pytest
from breezeway_shim.transcoding.faults import Fault
from breezeway_shim.transcoding.requests import read_request
from breezeway_shim.transcoding.routing import Router
from breezeway_shim.transcoding.rules import routes_of
from google.protobuf import json_format
from google.protobuf.descriptor import ServiceDescriptor
from hypothesis import given
from hypothesis import strategies as st

SEARCH = "GET /v1/messages:search"
CREATE = "POST /v1/messages"


def read(messaging: ServiceDescriptor, line: str, body: Any = b"") -> dict[str, Any]:
    """The JSON of the request that `METHOD /path?query` and a body become; a body that is not bytes is JSON."""
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    route, variables = Router(routes_of(messaging)).find(method, path)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    message = read_request(route, variables, query, content)
    value: dict[str, Any] = json_format.MessageToDict(message, descriptor_pool=messaging.file.pool)
    return value


@pytest.mark.parametrize(
    ("line", "body", "expected"),
    [
        # Path.
        ("GET /v1/messages/123456", b"", {"name": "messages/123456"}),
        ("GET /v1/users/me/messages/1", b"", {"userId": "me", "messageId": "1"}),
        ("GET /v1/numbers/-5/COLOR_RED/true", b"", {"i64": "-5", "color": "COLOR_RED", "truth": True}),
        ("GET /v1/numbers/5/2/false", b"", {"i64": "5", "color": "COLOR_BLUE"}),
        # "Any fields which are not bound by the path template automatically become HTTP query parameters."
        ("GET /v1/messages/1?i32=2&sub.name=foo", b"", {"name": "messages/1", "i32": 2, "sub": {"name": "foo"}}),
        ("GET /v1/messages/1", b" {} ", {"name": "messages/1"}),
        (f"{SEARCH}?messageId=a&user_id=b", b"", {"messageId": "a", "userId": "b"}),
        (f"{SEARCH}?texts=a&texts=b&numbers=1&numbers=-2", b"", {"texts": ["a", "b"], "numbers": [1, -2]}),
        (f"{SEARCH}?name=a%20b+c%C3%A9&left=", b"", {"name": "a b cé", "left": ""}),
        (f"{SEARCH}?u64=18446744073709551615&i64=-1", b"", {"u64": "18446744073709551615", "i64": "-1"}),
        (f"{SEARCH}?number=1.5e3&single=NaN", b"", {"number": 1500.0, "single": "NaN"}),
        (f"{SEARCH}?truth=true&wrappedTruth=false", b"", {"truth": True, "wrappedTruth": False}),
        (f"{SEARCH}?color=COLOR_BLUE&colors=1&colors=COLOR_BLUE", b"", {
            "color": "COLOR_BLUE", "colors": ["COLOR_RED", "COLOR_BLUE"],
        }),
        (f"{SEARCH}?wrapped_number=7&wrappedText=x", b"", {"wrappedNumber": "7", "wrappedText": "x"}),
        (f"{SEARCH}?time=2026-01-31T12:00:00Z&span=1.5s&mask=userId,sub.name", b"", {
            "time": "2026-01-31T12:00:00Z", "span": "1.500s", "mask": "userId,sub.name",
        }),
        (f"{SEARCH}?blob=_-8", b"", {"blob": "/+8="}),
        (f"{SEARCH}?labels[a.b]=1&labels%5Bc%5D=2&flags[3]=true", b"", {
            "labels": {"a.b": "1", "c": "2"}, "flags": {"3": True},
        }),
        (f"{SEARCH}?sub.sub.sub.maybe=", b"", {"sub": {"sub": {"sub": {"maybe": ""}}}}),
        # "If body is *, all fields are passed via URL path and HTTP request body."
        (CREATE, {"name": "a", "sub": {"i64": "5"}}, {"name": "a", "sub": {"i64": "5"}}),
        (CREATE, b"", {}),
        (CREATE, {"i64": 5, "u64": "6", "color": 2, "message_id": "m"}, {
            "i64": "5", "u64": "6", "color": "COLOR_BLUE", "messageId": "m",
        }),
        (CREATE, {"name": None, "texts": None, "wrappedText": None}, {}),
        (CREATE, {"value": None, "object": {"a": [1, None]}}, {"value": None, "object": {"a": [1.0, None]}}),
        (CREATE, {"any": {"@type": "x/messaging.v1.Complaint", "about": "a"}}, {
            "any": {"@type": "x/messaging.v1.Complaint", "about": "a"},
        }),
        (CREATE, {"flags": {"1": True}, "named": {"x": {"name": "y"}}}, {
            "flags": {"1": True}, "named": {"x": {"name": "y"}},
        }),
        ("PUT /v1/messages/7", {"name": "x"}, {"messageId": "7", "name": "x"}),
        # The body may say again what the path says.
        ("PUT /v1/messages/7", {"messageId": "7", "name": "x"}, {"messageId": "7", "name": "x"}),
        # "body: message": the field is the body, the others come from path and query.
        ("PATCH /v1/rooms/1/messages/2?i32=3", {"userId": "u"}, {
            "sub": {"name": "rooms/1/messages/2", "userId": "u"}, "i32": 3,
        }),
        # "If an API needs to use a JSON array for request body, it can map the body to a repeated field."
        ("PUT /v1/messages/7/texts", ["a", "b"], {"messageId": "7", "texts": ["a", "b"]}),
        ("REPORT /v1/messages?name=x", b"", {"name": "x"}),
        ("DELETE /v1/anything/x", b"", {"name": "x"}),
        ("GET /v1/files/a/b%2Fc", b"", {"name": "a/b%2Fc"}),
    ],
)  # fmt: skip
def test_path_query_and_body_become_the_request(
    messaging: ServiceDescriptor, line: str, body: Any, expected: dict[str, Any]
) -> None:
    assert read(messaging, line, body) == expected


@pytest.mark.parametrize(
    ("line", "body", "path"),
    [
        # Unknown, by path.
        (f"{SEARCH}?nothing=1", b"", "nothing"),
        (f"{SEARCH}?sub.nothing=1", b"", "sub.nothing"),
        (f"{SEARCH}?name.x=1", b"", "name.x"),
        (f"{SEARCH}?name[x]=1", b"", "name[x]"),
        (f"{SEARCH}?labels[a=1", b"", "labels[a"),
        (CREATE, {"nothing": 1}, "nothing"),
        (CREATE, {"sub": {"subs": [{}, {"nothing": 1}]}}, "sub.subs[1].nothing"),
        (CREATE, {"named": {"a": {"nothing": 1}}}, "named[a].nothing"),
        (CREATE, {"[messaging.v1.x]": 1}, "[messaging.v1.x]"),
                # In the query, but not for it.
        (f"{SEARCH}?name=1&name=2", b"", "name"),
        (f"{SEARCH}?messageId=1&message_id=2", b"", "message_id"),
        (f"{SEARCH}?left=1&right=2", b"", "right"),
        (f"{SEARCH}?labels[a]=1&labels[a]=2", b"", "labels[a]"),
        (f"{SEARCH}?sub=x", b"", "sub"),
        (f"{SEARCH}?subs=x", b"", "subs"),
        (f"{SEARCH}?subs.name=x", b"", "subs.name"),
        (f"{SEARCH}?labels=x", b"", "labels"),
        (f"{SEARCH}?named[a]=x", b"", "named[a]"),
        (f"{SEARCH}?object=x", b"", "object"),
        ("POST /v1/messages?name=x", {}, "name"),
        ("GET /v1/users/me/messages/1?userId=you", b"", "userId"),
        ("PATCH /v1/rooms/1/messages/2?sub.userId=x", {}, "sub.userId"),
        ("PUT /v1/messages/7", {"messageId": "8"}, "message_id"),
        ("GET /v1/messages/1", {"name": "x"}, ""),
        # Values that do not fit.
        (f"{SEARCH}?truth=yes", b"", "truth"),
        (f"{SEARCH}?i32=2147483648", b"", "i32"),
        (f"{SEARCH}?u32=-1", b"", "u32"),
        (f"{SEARCH}?u64=18446744073709551616", b"", "u64"),
        (f"{SEARCH}?i32=1.5", b"", "i32"),
        (f"{SEARCH}?i32=", b"", "i32"),
        (f"{SEARCH}?color=GREEN", b"", "color"),
        (f"{SEARCH}?color=99999999999", b"", "color"),
        (f"{SEARCH}?time=yesterday", b"", "time"),
        (f"{SEARCH}?span=1", b"", "span"),
        (f"{SEARCH}?mask=a_b", b"", "mask"),
        (f"{SEARCH}?blob=!", b"", "blob"),
        (f"{SEARCH}?flags[x]=true", b"", "flags[x]"),
        (f"{SEARCH}?name=%FF", b"", ""),
        ("GET /v1/numbers/x/1/true", b"", "i64"),
        ("GET /v1/numbers/1/1/1", b"", "truth"),
        (CREATE, {"name": 5}, "name"),
        (CREATE, {"name": ["a"]}, "name"),
        (CREATE, {"name": "\ud800"}, ""),
        (CREATE, {"\udfff": 1}, ""),
        (CREATE, {"color": "\ud800"}, ""),
        (CREATE, {"left": 5}, "left"),
        (CREATE, {"i32": True}, "i32"),
        (CREATE, {"i32": 2**31}, "i32"),
        (CREATE, {"i64": 10**30}, "i64"),
        (CREATE, {"number": True}, "number"),
        (CREATE, {"single": 1e300}, "single"),
        (CREATE, {"number": 10**400}, "number"),
        (CREATE, {"truth": "true"}, "truth"),
        (CREATE, {"color": True}, "color"),
        (CREATE, {"color": 1.5}, "color"),
        (CREATE, {"color": []}, "color"),
        (CREATE, {"blob": "a"}, "blob"),
        (CREATE, {"blob": "ab!="}, "blob"),
        (CREATE, {"blob": 5}, "blob"),
        (CREATE, {"texts": "a"}, "texts"),
        (CREATE, {"texts": ["a", None]}, "texts[1]"),
        (CREATE, {"subs": [{"numbers": [1, "x"]}]}, "subs[0].numbers[1]"),
        (CREATE, {"subs": [None]}, "subs[0]"),
        (CREATE, {"labels": []}, "labels"),
        (CREATE, {"labels": {"a": None}}, "labels[a]"),
        (CREATE, {"labels": {"a": 1}}, "labels[a]"),
        (CREATE, {"flags": {"x": True}}, "flags[x]"),
        (CREATE, {"sub": "x"}, "sub"),
        (CREATE, {"sub": {"time": 5}}, "sub.time"),
        (CREATE, {"wrappedNumber": "x"}, "wrappedNumber"),
        (CREATE, {"any": {"@type": "x/no.such.Message"}}, "any"),
        (CREATE, {"any": []}, "any"),
        (CREATE, {"any": {"@type": "x/google.protobuf.Duration"}}, "any"),
        (CREATE, {"object": []}, "object"),
        (CREATE, {"left": "a", "right": "b"}, "right"),
        (CREATE, {"messageId": "a", "message_id": "b"}, "message_id"),
        # Bodies that are no JSON, or not of ours.
        (CREATE, b"{", ""),
        (CREATE, b"[]", ""),
        (CREATE, b"5", ""),
        (CREATE, b'{"name": "\xff"}', ""),
        (CREATE, b'{"number": NaN}', ""),
        (CREATE, b'{"number": 1e999}', ""),
        (CREATE, b'{"i64": ' + b"9" * 5000 + b"}", ""),
        (CREATE, b'{"name": "a", "name": "b"}', "name"),
        (CREATE, b'{"object": {"x": 1, "x": 2}}', "x"),
        (CREATE, b"[" * 100_000, ""),
        (CREATE, b'{"object":' * 300 + b"1" + b"}" * 300, "object"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_path(messaging: ServiceDescriptor, line: str, body: Any, path: str) -> None:
    with pytest.raises(Fault) as caught:
        read(messaging, line, body)
    assert caught.value.path == path
    assert str(caught.value).encode()


@pytest.mark.parametrize("member", ["sub", "value", "object"])
def test_what_is_nested_too_deeply_is_refused(messaging: ServiceDescriptor, member: str) -> None:
    with pytest.raises(Fault, match="too deeply"):
        read(messaging, CREATE, f'{{"{member}":'.encode() + b'{"sub":' * 150 + b"{}" + b"}" * 151)


def test_a_fault_says_what_would_be_right(messaging: ServiceDescriptor) -> None:
    with pytest.raises(Fault, match=r"^sub.color must be one of COLOR_UNSPECIFIED, COLOR_RED, COLOR_BLUE\.$"):
        read(messaging, CREATE, {"sub": {"color": "GREEN"}})
    with pytest.raises(Fault, match=r"^i32 must be a 32-bit integer\.$"):
        read(messaging, CREATE, {"i32": "many"})


def test_a_made_up_name_of_any_length_is_cut(messaging: ServiceDescriptor) -> None:
    with pytest.raises(Fault) as caught:
        read(messaging, CREATE, {"x" * 10_000: 1})
    assert len(str(caught.value)) < 500


NAMES = st.sampled_from(
    [
        "name",
        "i32",
        "i64",
        "u64",
        "single",
        "number",
        "truth",
        "blob",
        "color",
        "texts",
        "numbers",
        "labels",
        "flags",
        "sub",
        "subs",
        "time",
        "span",
        "mask",
        "wrappedNumber",
        "wrappedTruth",
        "object",
        "value",
        "any",
        "left",
        "right",
        "named",
        "@type",
        "nothing",
        "1",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["COLOR_RED", "1", "1s", "YQ=="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def read_or_fault(messaging: ServiceDescriptor, body: Any) -> dict[str, Any] | None:
    """The request's JSON, or None where there is a fault, whose words are text that can be sent."""
    try:
        return read(messaging, CREATE, body)
    except Fault as fault:
        # Raises where the words hold what is no text.
        str(fault).encode()
        return None


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_any_json_is_a_request_or_a_fault(messaging: ServiceDescriptor, body: dict[str, Any]) -> None:
    value = read_or_fault(messaging, body)
    if value is not None and "NaN" not in str(value):
        # What was taken is written and taken again as the same.
        assert read(messaging, CREATE, value) == value


@given(st.binary())
def test_any_bytes_are_a_request_or_a_fault(messaging: ServiceDescriptor, body: bytes) -> None:
    read_or_fault(messaging, body)
