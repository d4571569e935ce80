"""Log lines: one event is one line, whatever comes from outside."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from breezeway.telemetry.logs import LogFormat, configure_logging

HOSTILE = "x\n2026-01-01 [info] forged\r\x1b[31mred\x00\u2028\u202e" + "y" * 5000


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = before, level


def out_of(style: LogFormat) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(style, stream)
    return stream


@pytest.mark.parametrize("style", ["text", "json"])
def test_nothing_from_outside_breaks_or_forges_a_line(style: LogFormat) -> None:
    stream = out_of(style)
    structlog.get_logger().info("refused", said=HOSTILE)
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert len(written) < 3000
    assert written.removesuffix("\n").isprintable() or style == "json"
    assert not {"\x1b", "\r", "\x00", "\u202e"} & set(written)


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_text_of_an_exception_does_not_look_like_a_line(style: LogFormat) -> None:
    stream = out_of(style)
    try:
        int(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("broke")
    first, *rest = stream.getvalue().splitlines()
    assert "broke" in first
    assert all(line.startswith("    ") for line in rest)
    assert "Traceback" in stream.getvalue()
    assert "invalid literal" in stream.getvalue()
    assert not {"\x1b", "\x00"} & set(stream.getvalue())


def test_json_lines_hold_what_was_bound() -> None:
    stream = out_of("json")
    structlog.contextvars.bind_contextvars(request_id="abc", run_id="run_1")
    structlog.get_logger().warning("slow", seconds=1.5)
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("event", "level", "seconds", "request_id", "run_id")} == {
        "event": "slow",
        "level": "warning",
        "seconds": 1.5,
        "request_id": "abc",
        "run_id": "run_1",
    }


def test_what_libraries_say_is_a_line_of_the_same_form() -> None:
    stream = out_of("json")
    logging.getLogger("some.library").warning("odd: %s", "a\nb")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == ("odd: a\\nb", "warning")
