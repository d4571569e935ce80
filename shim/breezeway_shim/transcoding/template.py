"""Path templates: the grammar of google/api/http.proto, and how a path is matched and decoded."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

# What the grammar calls Template, but for the parts inside braces, which are looked at one by one.
_TEMPLATE = re.compile(r"(?P<segments>(?:/(?:\{[^{}]*\}|[^/{}]+?))+)(?P<verb>:[^/:{}]+)?")
_PIECE = re.compile(r"/(\{[^{}]*\}|[^/{}]+)")
_VARIABLE = re.compile(r"\{(?P<field>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:=(?P<segments>[^{}]+))?\}", re.ASCII)
_WILDCARDS = ("*", "**")
_ENCODED_SLASH = re.compile(r"(%2[fF])")


class TemplateError(ValueError):
    """A path template that the grammar does not allow."""


class Variable(NamedTuple):
    """A variable: the path of its field, and which of the template's segments it stands for."""

    field: str
    start: int
    end: int


class Template:
    """One path template. Raises `TemplateError` for what is none.

    `shape` is the template without the names of its variables: templates of one shape match the same paths.
    `specificity` sorts the templates that match one path: the smallest is meant.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.segments, self.variables, self.verb = _parse(text)
        self.shape = "/" + "/".join(self.segments) + (f":{self.verb}" if self.verb else "")
        ranks = tuple(_WILDCARDS.index(segment) + 1 if segment in _WILDCARDS else 0 for segment in self.segments)
        self.specificity = (not self.verb, ranks)
        self._pattern = _pattern(self.segments, self.variables, self.verb)

    def match(self, path: str) -> tuple[str, ...] | None:
        """Return what the variables stand for in `path`, still percent-encoded; None where it does not match."""
        found = self._pattern.fullmatch(path)
        return found.groups(default="") if found else None

    def decode(self, encoded: Sequence[str]) -> Mapping[str, str]:
        """Return the values of a match by field path. Raises UnicodeDecodeError for what is not UTF-8."""
        return {
            variable.field: _decode_many(value) if self.is_multi_segment(variable) else unquote(value, errors="strict")
            for variable, value in zip(self.variables, encoded, strict=True)
        }

    def is_multi_segment(self, variable: Variable) -> bool:
        """Tell whether the variable stands for several segments: an encoded slash in it then stays encoded."""
        return self.segments[variable.start : variable.end] == ("**",) or variable.end - variable.start > 1


def _decode_many(value: str) -> str:
    # "except %2F and %2f", which would otherwise read like the slashes between segments.
    pieces = _ENCODED_SLASH.split(value)
    return "".join(piece if index % 2 else unquote(piece, errors="strict") for index, piece in enumerate(pieces))


def _parse(text: str) -> tuple[tuple[str, ...], tuple[Variable, ...], str]:
    found = _TEMPLATE.fullmatch(text)
    if not found or text.endswith(":"):
        raise TemplateError(f"{text!r} is not a path template")
    segments: list[str] = []
    variables: list[Variable] = []
    for piece in _PIECE.findall(found["segments"]):
        if not piece.startswith("{"):
            segments.append(piece)
            continue
        variable = _VARIABLE.fullmatch(piece)
        if not variable:
            raise TemplateError(f"{piece!r} in {text!r} is not a variable")
        inner = (variable["segments"] or "*").split("/")
        variables.append(Variable(variable["field"], len(segments), len(segments) + len(inner)))
        segments += inner
    for segment in segments:
        if not segment or ("*" in segment and segment not in _WILDCARDS):
            raise TemplateError(f"{segment!r} in {text!r} is not a segment")
    if "**" in segments[:-1]:
        raise TemplateError(f"'**' is not the last segment of {text!r}")
    if len({variable.field for variable in variables}) < len(variables):
        raise TemplateError(f"a variable of {text!r} is named twice")
    return tuple(segments), tuple(variables), (found["verb"] or "")[1:]


def _pattern(segments: Sequence[str], variables: Sequence[Variable], verb: str) -> re.Pattern[str]:
    """A pattern with one group a variable."""
    starts = {variable.start for variable in variables}
    ends = {variable.end - 1 for variable in variables}
    pattern = ""
    for index, segment in enumerate(segments):
        opening = "(" if index in starts else ""
        match segment:
            case "**":
                # No segment at all is a match as well, and the slash before it never belongs to the variable.
                pattern += f"(?:/{opening}.*{')' if opening else ''})?"
                pattern += ")" if index in ends and not opening else ""
                continue
            case "*":
                pattern += f"/{opening}[^/]+"
            case _:
                pattern += f"/{opening}{_literal(segment)}"
        pattern += ")" if index in ends else ""
    return re.compile(pattern + (f":{_literal(verb)}" if verb else ""), re.DOTALL)


def _literal(text: str) -> str:
    """A pattern for literal text; a client may have percent-encoded any character of it."""
    return "".join(_character(character) for character in unquote(text))


def _character(character: str) -> str:
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    # Outside ASCII only the encoded form can come; the others may come as they are.
    return f"(?:{re.escape(character)}|(?i:{encoded}))" if character.isascii() else f"(?i:{encoded})"
