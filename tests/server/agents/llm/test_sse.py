"""The SSE reader: any stream, however cut, gives the same events."""

import json

import pytest
from breezeway_server.agents.llm.sse import SseError, SseReader
from hypothesis import given
from hypothesis import strategies as st

_TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
_LINES = st.lists(st.one_of(_TEXT.map(lambda text: f"data: {text}"), _TEXT.map(lambda text: f": {text}")), max_size=4)


def _read(*chunks: bytes) -> list[bytes]:
    reader = SseReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


@given(
    events=st.lists(_LINES, max_size=5),
    newline=st.sampled_from(["\n", "\r", "\r\n"]),
    cuts=st.lists(st.integers(0, 400)),
    bom=st.booleans(),
)
def test_fragmentation_and_line_ends_change_nothing(
    events: list[list[str]], newline: str, cuts: list[int], bom: bool
) -> None:
    stream = "".join(newline.join([*lines, "", ""]) for lines in events).encode()
    stream = (b"\xef\xbb\xbf" if bom else b"") + stream
    expected = []
    for lines in events:
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if data:
            expected.append("\n".join(data).encode())
    places = sorted({min(cut, len(stream)) for cut in cuts})
    chunks = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
    assert _read(*chunks) == expected


@given(text=st.text(), size=st.integers(1, 5))
def test_any_json_text_survives_being_cut_inside_its_characters(text: str, size: int) -> None:
    stream = f"data: {json.dumps(text, ensure_ascii=True)}\n\n".encode()
    [event] = _read(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert json.loads(event) == text


def test_other_fields_and_comments_are_left_out() -> None:
    assert _read(b": hello\nevent: x\nid: 1\nretry: 5\ndata: one\nunknown\n\n") == [b"one"]


def test_only_one_space_after_the_colon_belongs_to_the_syntax() -> None:
    assert _read(b"data:one\n\ndata:  two\n\ndata\n\n") == [b"one", b" two", b""]


def test_an_event_that_has_not_ended_is_not_told() -> None:
    assert _read(b"data: one\n\ndata: two\n") == [b"one"]


def test_characters_that_only_look_like_line_ends_stay() -> None:
    assert _read("data: a\x0b\x0c\x1c\x85\u2028b\n\n".encode()) == ["a\x0b\x0c\x1c\x85\u2028b".encode()]


@pytest.mark.parametrize("piece", [b"x" * 10, b"data: xxxxxxx\n"])
def test_what_is_held_is_bounded(piece: bytes) -> None:
    reader = SseReader(max_event=100)

    def feed_for_ever() -> None:
        for _ in range(100):
            reader.feed(piece)

    with pytest.raises(SseError):
        feed_for_ever()


def test_many_small_events_are_no_large_one() -> None:
    reader = SseReader(max_event=100)
    assert sum(len(reader.feed(b"data: xxxxxxxxxxxx\n\n")) for _ in range(1000)) == 1000
