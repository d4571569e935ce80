import re
from urllib.parse import quote

import pytest
from breezeway_shim.transcoding.template import Template, TemplateError
from hypothesis import given
from hypothesis import strategies as st


def values(template: str, path: str) -> dict[str, str] | None:
    parsed = Template(template)
    encoded = parsed.match(path)
    return None if encoded is None else dict(parsed.decode(encoded))


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("/v1/messages", "/v1/messages", {}),
        ("/v1/messages", "/v1/messages/", None),
        ("/v1/messages", "/v1/Messages", None),
        # "The syntax * matches a single URL path segment."
        ("/v1/*/b", "/v1/a/b", {}),
        ("/v1/*/b", "/v1/a/a/b", None),
        ("/v1/*/b", "/v1//b", None),
        ("/v1/{name=messages/*}", "/v1/messages/123456", {"name": "messages/123456"}),
        ("/v1/{name=messages/*}", "/v1/messages/1/2", None),
        ("/v1/messages/{message_id}", "/v1/messages/123456", {"message_id": "123456"}),
        ("/v1/messages/{message_id=*}", "/v1/messages/123456", {"message_id": "123456"}),
        ("/v1/{sub.subfield}/x", "/v1/foo/x", {"sub.subfield": "foo"}),
        ("/v1/users/{user_id}/messages/{message_id}", "/v1/users/me/messages/1", {"user_id": "me", "message_id": "1"}),
        # "The syntax ** matches zero or more URL path segments."
        ("/v1/**", "/v1", {}),
        ("/v1/**", "/v1/a/b/c", {}),
        ("/v1/**", "/v1x", None),
        ("/v1/{rest=**}", "/v1", {"rest": ""}),
        ("/v1/{rest=**}", "/v1/", {"rest": ""}),
        ("/v1/{rest=**}", "/v1/a//b", {"rest": "a//b"}),
        ("/v1/{name=a/*/b/**}", "/v1/a/x/b", {"name": "a/x/b"}),
        ("/v1/{name=a/*/b/**}", "/v1/a/x/b/c/d", {"name": "a/x/b/c/d"}),
        ("/v1/{name=a/*/b/**}", "/v1/a/b/c", None),
        # A verb.
        ("/v1/runs/{id}:cancel", "/v1/runs/7:cancel", {"id": "7"}),
        ("/v1/runs/{id}:cancel", "/v1/runs/7", None),
        ("/v1/runs/{id}:cancel", "/v1/runs/:cancel", None),
        ("/v1/runs/{id}:cancel", "/v1/runs/7%3Acancel", None),
        ("/v1/runs/{id}", "/v1/runs/a:b", {"id": "a:b"}),
        ("/v1/runs:count", "/v1/runs:count", {}),
        ("/v1/{rest=**}:do", "/v1/a/b:do", {"rest": "a/b"}),
        ("/v1/**:do", "/v1:do", {}),
        ("/v1/a:b/c:d", "/v1/a:b/c:d", {}),
        # "If a variable contains exactly one path segment ..., the server side does the reverse decoding."
        ("/v1/{id}", "/v1/a%2Fb%3ac%20%C3%A9", {"id": "a/b:c é"}),
        # ... "except %2F and %2f are left unchanged", where the variable has several.
        ("/v1/{name=**}", "/v1/a%2Fb/c%2fd%20%25", {"name": "a%2Fb/c%2fd %"}),
        ("/v1/{name=rooms/*}", "/v1/rooms/a%2Fb%3A", {"name": "rooms/a%2Fb:"}),
        # Nothing is decoded twice, and a plus is a plus.
        ("/v1/{id}", "/v1/%2541+", {"id": "%41+"}),
        # Literals may be percent-encoded, on either side.
        ("/v1/{id}", "/%761/x", {"id": "x"}),
        ("/v1/caf%C3%A9", "/v1/caf%c3%a9", {}),
        ("/v1/a;b", "/v1/a%3Bb", {}),
        ("/v1/a.b", "/v1/axb", None),
    ],
)
def test_a_template_matches_and_binds(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert values(template, path) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "v1",
        "/v1/",
        "/v1//x",
        "/v1/{}",
        "/v1/{a",
        "/v1/a}",
        "/v1/x{a}",
        "/v1/{a}{b}",
        "/v1/{a={b}}",
        "/v1/{1a}",
        "/v1/{a.}",
        "/v1/{a=}",
        "/v1/{a=/b}",
        "/v1/**/b",
        "/v1/{a=**}/b",
        "/v1/a*",
        "/v1/***",
        "/v1/{a}/{a}",
        "/v1/a:",
    ],
)
def test_what_the_grammar_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        Template(text)


def test_a_value_that_is_not_utf8_is_refused() -> None:
    template = Template("/v1/{id}")
    encoded = template.match("/v1/%ff")
    assert encoded is not None
    with pytest.raises(UnicodeDecodeError):
        template.decode(encoded)


TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
SEGMENTS = st.lists(st.one_of(st.from_regex(r"[a-z;:@]{1,3}", fullmatch=True), st.just("*")), min_size=1, max_size=3)


@st.composite
def expansions(draw: st.DrawFn) -> tuple[str, str, dict[str, str]]:
    """A template, a path that a client makes of it, and the values that the client put in."""
    template, path, expected = "", "", {}
    for number in range(draw(st.integers(1, 4))):
        inner = draw(SEGMENTS)
        if not draw(st.booleans()):
            template += "/" + "/".join(inner)
            path += "".join("/" + (quote(draw(TEXT), safe="") if s == "*" else s) for s in inner)
            continue
        template += f"/{{f{number}={'/'.join(inner)}}}"
        many = len(inner) > 1
        # "All characters except [-_.~0-9a-zA-Z] are percent-encoded": a slash in a value for several segments is
        # one between segments, so that a value for one of them has none.
        value = "/".join(draw(TEXT).replace("/", "_" if many else "/") if s == "*" else s for s in inner)
        path += "/" + quote(value, safe="/" if many else "")
        expected[f"f{number}"] = value
    if draw(st.booleans()):
        rest = draw(TEXT)
        template, path = f"{template}/{{rest=**}}", f"{path}/{quote(rest, safe='/')}"
        expected["rest"] = rest
    if draw(st.booleans()):
        template, path = f"{template}:verb", f"{path}:verb"
    return template, path, expected


@given(expansions())
def test_what_is_expanded_is_matched_and_decoded_to_the_same(case: tuple[str, str, dict[str, str]]) -> None:
    template, path, expected = case
    # A colon in the last literal would be a verb.
    if not re.search(r":[^/{}]*$", template.removesuffix(":verb")):
        assert values(template, path) == expected
