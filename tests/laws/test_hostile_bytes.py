"""Whatever bytes come from outside, what reads them first says what is wrong with them, or reads them."""

import json
from random import Random

import pytest
from breezeway_server.agents.llm.wire import ErrorBody, decode_error
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile.bodies import GOOD, nearly
from tests.hostile.entries import ENTRIES

_BODIES = {"chat-completions": "/v1/chat/completions", "responses": "/v1/responses", "runs": "/v1/runs"}
_CHUNK = {"choices": [{"index": 0, "delta": {"content": "a", "tool_calls": [{"index": 0, "id": "1"}]}}], "usage": {}}


@pytest.mark.parametrize("entry", ENTRIES)
@given(data=st.binary(max_size=300))
@example(data=b"\x80")
def test_noise_breaks_nothing(entry: str, data: bytes) -> None:
    ENTRIES[entry](data)


@pytest.mark.parametrize("entry", [*_BODIES, "native-body"])
@given(seed=st.integers())
def test_a_request_that_is_nearly_right_breaks_nothing(entry: str, seed: int) -> None:
    good = GOOD[_BODIES.get(entry, "/api/runs")]
    ENTRIES[entry](nearly(good, Random(seed)))  # noqa: S311 - to be had again is what it is for


@given(seeds=st.lists(st.integers(), max_size=5), size=st.integers(1, 255))
@example(seeds=[-173], size=1)
def test_a_stream_that_is_nearly_right_breaks_nothing(seeds: list[int], size: int) -> None:
    chunks = [nearly(_CHUNK, Random(seed)) for seed in seeds]  # noqa: S311 - to be had again is what it is for
    body = b"".join(b"data: " + chunk + b"\n\n" for chunk in [json.dumps(_CHUNK).encode(), *chunks])
    ENTRIES["upstream"](bytes([size]) + body)


def test_an_event_that_is_nested_too_deeply_is_a_malformed_one() -> None:
    ENTRIES["upstream"](b'\xffdata: {"choices":' + b"[" * 100_000 + b"\n\n")
    ENTRIES["upstream"](b'\xffdata: {"error":' + b'{"a":' * 100_000 + b"\n\n")
    assert decode_error(b"[" * 100_000) == ErrorBody()


@pytest.mark.parametrize("entry", ["native-query", "native-path"])
@given(text=st.text(alphabet="ab%/:.&=[]{}*0\xff\x00", max_size=60))
def test_odd_paths_and_queries_break_nothing(entry: str, text: str) -> None:
    ENTRIES[entry](text.encode())
