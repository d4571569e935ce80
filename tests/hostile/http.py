"""Requests over HTTP that no client should send, as the bytes that go over the wire."""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple
from urllib.parse import quote

from tests.hostile.bodies import GOOD, nearly

_IDS = (
    "x", "run_", "run_" + "0" * 32, "resp_" + "f" * 32, "chatcmpl-" + "0" * 32, "..", "../../etc/passwd", "%2e%2e", "%",
    "%zz", "%00", "%ff", "%0d%0aX-Evil:1", "a" * 3000, "conv_1", "*", "**", ":cancel", "a:b:c", "é", "\xff", "{run_id}",
    "-1", "null", "%F0%9F%98%80",
)  # fmt: skip
_PATHS = (
    "/", "/{}", "/health", "/docs", "/openapi.json", "/metrics", "/v1/{}", "/v1/models", "/v1/models/{}",
    "/v1/chat/completions", "/v1/chat/completions/{}", "/v1/chat/completions/{}/messages", "/v1/responses/{}",
    "/v1/responses/{}/cancel", "/v1/responses/{}/input_items", "/v1/conversations/{}", "/v1/conversations/{}/items",
    "/v1/conversations/{}/items/{}", "/v1/runs/{}", "/v1/runs/{}/events", "/v1/runs/{}/stop", "/v1/capabilities",
    "/api/runs", "/api/runs/{}", "/api/runs/{}:cancel", "/api/runs/{}/events", "/api/runs/{}/items", "/api/agents/{}",
    "/api/conversations/{}", "/api/conversations/{}/items", "/api/profiles/{}", "/api/jobs/{}", "/api/jobs/{}:runNow",
    "/api/keys/{}", "//", "/../..", "/api//runs", "/v1/chat/completions/../../..", "/%2e%2e/", "*",
)  # fmt: skip
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "GETT", "get", "")
_QUERIES = (
    "starting_after=-1", "\x80=1", "starting_after=x", "starting_after=99999999999999999999", "after=\xff", "limit=0",
    "limit=-5", "limit=1e9", "limit=1001", "order=sideways", "pageToken=!!!", "page_token=AAAA", "pageSize=x",
    "pageSize=99999999999", "states=7", "states=NO", "metadata[", "metadata[a]=b&metadata[a]=c", "a=%ff", "%", "=",
    "&&&", "stream=true", "stream=maybe", "include[]=x", "afterSequence=-1", "afterSequence=1.5", "kind=9", "view=\x7f",
)  # fmt: skip
_HEADERS = (
    "Last-Event-ID: -1", "Last-Event-ID: x", "Last-Event-ID: 99999999999999999999", "Idempotency-Key: \xff",
    "Idempotency-Key: " + "k" * 4000, "x-request-id: a b", "x-request-id: " + "r" * 300, "Authorization: Bearer",
    "Authorization: \xff\xfe", "X-API-Key: ", "Accept: text/html;q=x", "Accept: application/jsonl;q=\xff", "Host: \xff",
    "Host: evil.example", "Origin: null", "Origin: http://[", "Origin: \xff", "Grpc-Timeout: 99999999999S",
    "Grpc-Timeout: -1S", "traceparent: 00-zz", "baggage: " + "b" * 6000, "X-On-Disconnect: maybe",
    "X-Conversation-Busy: \x0b", "X-Conversation-Id: ../..", "Expect: 100-continue", "Expect: x",
    "Upgrade: websocket", "Connection: Upgrade", "Range: bytes=5-1", "If-None-Match: \xff", "Cookie: " + "c=d;" * 500,
    "Accept-Encoding: \x7f", "Content-Encoding: gzip", "Content-Encoding: deflate",
    "Content-Encoding: x", "Transfer-Encoding: identity",
    "Content-Type: multipart/form-data; boundary=x", "Content-Type: multipart/form-data", "Content-Type: \xff",
    "Content-Type: application/json; charset=utf-16", "Content-Type: text/plain; charset=no-such",
)  # fmt: skip
_BROKEN_LINES = (
    b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1 more\r\n\r\n", b"\x00\x01\x02\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET http:// HTTP/1.1\r\n\r\n",
    b"GET http://[/ HTTP/1.1\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HTTP/1.1\r\n: empty\r\n\r\n", b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nA : b\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", b"GET / HTTP/1.1\nA: b\n\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
)  # fmt: skip
_BROKEN_FRAMES = (
    b"Content-Length: -1\r\n\r\nx", b"Content-Length: 1e3\r\n\r\nx", b"Content-Length: 99999999999999999999\r\n\r\nx",
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"Content-Length: 99999999999\r\n\r\nx",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    b"Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 9000,
    b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: " + b"t" * 9000 + b"\r\n\r\n",
)  # fmt: skip


class Hostile(NamedTuple):
    """What to send. One that is not `whole` may be answered only when the server has waited long enough for the rest.

    Or its connection may be closed without a word; nobody is owed one for what is no request.
    """

    data: bytes
    whole: bool = True


def hostile_request(random: Random) -> Hostile:
    """One of endlessly many."""
    return random.choice(_WAYS)(random)


def _odd_body(random: Random) -> Hostile:
    path, good = random.choice(list(GOOD.items()))
    return _request(random, "POST", path, nearly(good, random))


def _odd_path(random: Random) -> Hostile:
    method = random.choice(_METHODS[:7])
    body = nearly(random.choice(list(GOOD.values())), random) if method in {"POST", "PUT", "PATCH"} else b""
    return _request(random, method, _path(random), body)


def _odd_headers(random: Random) -> Hostile:
    path, good = random.choice(list(GOOD.items()))
    body = nearly(good, random)
    headers = random.sample(_HEADERS, random.randint(1, 3))
    if random.random() < 0.5:
        return _request(random, "GET", _path(random), b"", *headers)
    return _request(random, "POST", path, body, *headers)


def _odd_method(random: Random) -> Hostile:
    return Hostile(_request(random, random.choice(_METHODS), _path(random), b"").data, whole=False)


def _broken_line(random: Random) -> Hostile:
    return Hostile(random.choice(_BROKEN_LINES), whole=False)


def _broken_frame(random: Random) -> Hostile:
    head = f"POST {random.choice(list(GOOD))} HTTP/1.1\r\nHost: localhost\r\n".encode()
    return Hostile(head + random.choice(_BROKEN_FRAMES), whole=False)


def _truncated(random: Random) -> Hostile:
    data = _odd_body(random).data
    return Hostile(data[: random.randrange(len(data))], whole=False)


def _noise(random: Random) -> Hostile:
    return Hostile(random.randbytes(random.randint(1, 2000)), whole=False)


_WAYS: Sequence[Callable[[Random], Hostile]] = (
    _odd_body, _odd_body, _odd_body, _odd_path, _odd_path, _odd_headers, _odd_method, _broken_line, _broken_frame,
    _truncated, _noise,
)  # fmt: skip


def _path(random: Random) -> str:
    path = random.choice(_PATHS)
    while "{}" in path:
        path = path.replace("{}", random.choice(_IDS), 1)
    if random.random() < 0.4:
        queries = "&".join(random.sample(_QUERIES, random.randint(1, 3)))
        path += "?" + (quote(queries, safe="=&[]!%") if random.random() < 0.5 else queries)
    return path


def _request(random: Random, method: str, path: str, body: bytes, *headers: str) -> Hostile:
    lines = [f"{method} {path} HTTP/1.1", *headers]
    if not any(header.startswith("Host") for header in headers):
        lines.append("Host: localhost")
    if body and random.random() < 0.2:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        lines.append(f"Content-Length: {len(body)}")
    head = "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace") + b"\r\n"
    # What a header promises of the body may be another thing than what comes.
    whole = not any(header.startswith(("Expect", "Upgrade", "Transfer", "Connection")) for header in headers)
    return Hostile(head + body, whole and method != "HEAD")
