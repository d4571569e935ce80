"""Logging: structured lines on standard error, one event each, in which nothing from outside stands as it came."""

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import ExcInfo, Processor

LogFormat = Literal["text", "json"]

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""Request ids that are taken over from a caller; any other is answered with one of ours."""

_LONGEST = 2000
_LONGEST_TRACEBACK = 32_000
# Line breaks and what steers terminals, in ASCII and beyond it; a traceback's own line breaks stay.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def configure_logging(style: LogFormat, stream: TextIO | None = None) -> None:
    """Write events of level INFO and above as readable text or as JSON lines; libraries' warnings too.

    They go to standard error, or to `stream`.
    """
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        clean,
    ]
    rendered: list[Processor]
    if style == "json":
        rendered = [_exception_field, structlog.processors.JSONRenderer()]
    else:
        rendered = [structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=_write_exception)]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def clean(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what would break or forge a line in every text of an event, and cut the text that is too long."""
    for name, value in event.items():
        if isinstance(value, str) and (len(value) > _LONGEST or not value.isprintable()):
            event[name] = _CONTROL.sub(_escaped, value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")
    return event


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _traceback(exc_info: ExcInfo) -> str:
    text = "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    if len(text) > _LONGEST_TRACEBACK:
        # The end says what went wrong.
        text = f"…{text[-_LONGEST_TRACEBACK:]}"
    return _CONTROL_BUT_LINES.sub(_escaped, text)


def _write_exception(out: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback whose every line is indented: the text of an exception must not look like an event."""
    out.write("\n    " + _traceback(exc_info).replace("\n", "\n    "))


def _exception_field(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    elif isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    if isinstance(exc_info, tuple) and exc_info[0] is not None:
        event["exception"] = _traceback(exc_info)
    return event
