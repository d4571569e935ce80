"""Bodies of requests that are nearly right, and not."""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

_MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
_TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
_RUN = {
    "spec": {"agent": "demo", "sampling": {"temperature": 1, "maxOutputTokens": "5"}, "metadata": {"a": "b"}},
    "input": [{"message": {"role": "ROLE_USER", "content": [{"text": {"text": "hello"}}]}}],
    "requestId": "one",
}
_ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
_JOB = {"job": {"displayName": "j", "schedule": "0 5 * * *", "timeZone": "UTC", "spec": {"agent": "nobody"}}}

GOOD: Mapping[str, Any] = {
    "/v1/chat/completions": {
        "model": "nobody", "messages": _MESSAGES, "stream": True, "stream_options": {"include_usage": True},
        "temperature": 1.0, "n": 1, "stop": ["x"], "tools": _TOOLS, "tool_choice": "auto", "logit_bias": {"5": 1},
        "metadata": {"a": "b"}, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
    },
    "/v1/responses": {
        "model": "nobody", "input": [_ITEM], "stream": True, "store": True, "background": False, "tools": [],
        "previous_response_id": None, "conversation": {"id": "c"}, "text": {"format": {"type": "text"}},
        "reasoning": {"effort": "low"}, "metadata": {}, "include": [], "max_output_tokens": 16,
    },
    "/v1/conversations": {"items": [_ITEM], "metadata": {"topic": "demo"}},
    "/v1/runs": {"model": "nobody", "input": "hello", "session_id": "s", "instructions": "x"},
    "/api/runs": _RUN,
    "/api/runs:stream": _RUN,
    "/api/profiles": {"agent": "x", "profile": {"llm": {"model": "m", "baseUrl": "http://127.0.0.1:1/v1"}}},
    "/api/jobs": _JOB,
}  # fmt: skip

_ODD: Sequence[Any] = (
    None, True, False, 0, -1, 1.5, 10**30, -(10**30), 1e308, 2**63, "", "x", "\x00", "\ud800", "a\r\nb: c", "../..",
    "%00", "run_", "resp_" + "0" * 32, "run_" + "f" * 32, "é" * 300, "x" * 20_000, [], {}, [[]], [None], {"": None},
    {"type": "x"}, {"id": {"id": {}}}, ["x"] * 500, "data:image/png;base64,!", "http://127.0.0.1:1/x.png", "NaN",
    "9" * 400, "1970-01-01T00:00:00Z", "* * * * *", {"__proto__": 1}, "\u2028", "\U0010ffff",
)  # fmt: skip


def nearly(body: Any, random: Random) -> bytes:
    """The body as JSON with something odd in it, or as no JSON at all."""
    return random.choice(_WAYS)(body, random)


def _odd_value(body: Any, random: Random) -> bytes:
    return json.dumps(_put(body, random, random.choice(_ODD))).encode()


def _odd_values(body: Any, random: Random) -> bytes:
    for _ in range(random.randint(2, 6)):
        body = _put(body, random, random.choice(_ODD))
    return json.dumps(body).encode()


def _constant(body: Any, random: Random) -> bytes:
    text = json.dumps(_put(body, random, "@"))
    return text.replace(
        '"@"', random.choice(["NaN", "-Infinity", "1e999", "0x1", "01", "1" * 5000, "undefined"])
    ).encode()


def _deep(body: Any, random: Random) -> bytes:
    depth = random.choice([50, 500, 5_000, 50_000])
    opening, closing = random.choice([("[", "]"), ('{"a":', "}"), ('{"content":[', "]}")])
    whole = json.dumps(_put(body, random, "@"))
    return whole.replace('"@"', opening * depth + "1" * random.randint(0, 1) + closing * depth).encode()


def _cut(body: Any, random: Random) -> bytes:
    text = json.dumps(body).encode()
    return text[: random.randrange(len(text))]


def _no_utf8(body: Any, random: Random) -> bytes:
    text = json.dumps(body).encode()
    at = random.randrange(len(text))
    return text[:at] + random.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5", b"\x00", b"\\"]) + text[at:]


def _twice(body: Any, random: Random) -> bytes:
    text = json.dumps(body)
    if not isinstance(body, dict) or not body:
        return text.encode()
    name = random.choice(list(body))
    return f"{{{json.dumps(name)}: {json.dumps(random.choice(_ODD))}, {text[1:]}".encode()


def _unknown(body: Any, random: Random) -> bytes:
    odd = {random.choice(["", "x", "functions", "__class__", "model ", "\ud800", "a.b[0]"]): random.choice(_ODD)}
    return json.dumps({**body, **odd}).encode()


def _noise(_: Any, random: Random) -> bytes:
    return random.randbytes(random.randint(0, 3000))


def _flipped(body: Any, random: Random) -> bytes:
    text = bytearray(json.dumps(body).encode())
    for _ in range(random.randint(1, 5)):
        text[random.randrange(len(text))] = random.randrange(256)
    return bytes(text)


def _multipart(_: Any, random: Random) -> bytes:
    name = random.choice([b"file", b"", b'"', b"\xff", b"../../etc/passwd", b"a\r\nb"])
    return b"--x\r\nContent-Disposition: form-data; name=" + name + b"\r\n\r\n" + random.randbytes(50) + b"\r\n--x-"


_WAYS: Sequence[Callable[[Any, Random], bytes]] = (
    _odd_value, _odd_value, _odd_value, _odd_values, _constant, _deep, _cut, _no_utf8, _twice, _unknown, _noise,
    _flipped, _multipart,
)  # fmt: skip


def _put(body: Any, random: Random, odd: Any) -> Any:
    """The body with `odd` in place of one value somewhere in it."""
    if not isinstance(body, dict | list) or not body or random.random() < 0.15:
        return odd
    key = random.choice(list(body) if isinstance(body, dict) else range(len(body)))
    changed: Any = dict(body) if isinstance(body, dict) else list(body)
    changed[key] = _put(body[key], random, odd)
    return changed
