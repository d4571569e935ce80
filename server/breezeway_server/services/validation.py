"""Validation: what can be told wrong from a request alone, each fault with the path of its field."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.errors import InvalidRequest, NotFound
from breezeway_server.events.ids import canonical_run_id

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CONVERSATION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_METADATA = 16
_MAX_PAGE = 1000

# The smallest and the largest value of what is set of a run's sampling.
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_output_tokens": (1, 2**31),
    "n": (1, 128),
    "top_logprobs": (0, 20),
}


def run_id(text: str) -> str:
    """Return the canonical spelling of a run's id. Raises `NotFound` for what cannot be one."""
    canonical = canonical_run_id(text)
    if canonical is None:
        raise NotFound("RUN_NOT_FOUND", f"There is no run {text[:64]!r}.")
    return canonical


def page_size(size: int, default: int) -> int:
    """Return how many to list. Raises `InvalidRequest`."""
    if not 0 <= size <= _MAX_PAGE:
        raise InvalidRequest("page_size", f"page_size is {size}; it must lie between 1 and {_MAX_PAGE}.")
    return size or default


def conversation_id(text: str, field: str) -> str:
    """Return the id. Raises `InvalidRequest` where a conversation cannot have it."""
    if not _CONVERSATION_ID.fullmatch(text):
        raise InvalidRequest(field, f"{field} must be letters, digits, dots, underscores and hyphens, at most 128.")
    return text


def request_id(text: str) -> str:
    """Return the id. Raises `InvalidRequest` where it is too long."""
    if len(text) > 255:
        raise InvalidRequest("request_id", f"request_id has {len(text)} characters; it may have 255.")
    return text


def metadata(pairs: Mapping[str, str], field: str) -> None:
    """Raise `InvalidRequest` where there are too many pairs or one is too long."""
    if len(pairs) > _MAX_METADATA:
        raise InvalidRequest(field, f"{field} has {len(pairs)} pairs; it may have {_MAX_METADATA}.")
    for key, value in pairs.items():
        if len(key) > 64:
            raise InvalidRequest(field, f"The key {key[:64]!r}… of {field} is longer than 64 characters.")
        if len(value) > 512:
            raise InvalidRequest(f"{field}.{key}", f"{field}.{key} has {len(value)} characters; it may have 512.")


def spec(wanted: run_pb2.RunSpec) -> run_pb2.RunSpec:
    """Return the spec in the engine's form: ids canonical, defaults filled in. Raises `InvalidRequest`."""
    checked = run_pb2.RunSpec()
    checked.CopyFrom(wanted)
    if not checked.agent:
        raise InvalidRequest("spec.agent", "spec.agent is missing; list the agents to see which there are.")
    if checked.previous_run_id and checked.conversation_id:
        raise InvalidRequest("spec.previous_run_id", "Give spec.previous_run_id or spec.conversation_id, not both.")
    if checked.previous_run_id:
        canonical = canonical_run_id(checked.previous_run_id)
        if canonical is None:
            message = f"There is no run {checked.previous_run_id[:64]!r} to go on from."
            raise NotFound("PREVIOUS_RUN_NOT_FOUND", message, field="spec.previous_run_id")
        checked.previous_run_id = canonical
    if checked.conversation_id:
        conversation_id(checked.conversation_id, "spec.conversation_id")
    _durability(checked)
    metadata(checked.metadata, "spec.metadata")
    if checked.HasField("max_total_tokens") and not checked.max_total_tokens:
        raise InvalidRequest("spec.max_total_tokens", "max_total_tokens is 0; it must be at least 1.")
    _tools(checked)
    _sampling(checked)
    if checked.response_format.HasField("json_schema"):
        _json_schema(checked.response_format.json_schema)
    _model_options(checked)
    return checked


def _durability(checked: run_pb2.RunSpec) -> None:
    if checked.durability == run_pb2.DURABILITY_UNSPECIFIED:
        checked.durability = run_pb2.DURABILITY_LOGGED
    if checked.durability == run_pb2.DURABILITY_MEMORY:
        if checked.background:
            raise InvalidRequest("spec.background", "A background run must be stored; set durability to LOGGED.")
        if checked.conversation_id:
            raise InvalidRequest(
                "spec.conversation_id", "A run of a conversation must be stored; set durability to LOGGED."
            )


def _tools(checked: run_pb2.RunSpec) -> None:
    if not (checked.tools or checked.HasField("tool_choice")):
        return
    names: set[str] = set()
    for index, tool in enumerate(checked.tools):
        field = f"spec.tools[{index}]"
        if not tool.HasField("function"):
            raise InvalidRequest(field, f"{field} has no kind that this server knows; give a function.")
        function = tool.function
        if not _FUNCTION_NAME.fullmatch(function.name):
            message = f"{field}.function.name must be letters, digits, underscores and hyphens, at most 64."
            raise InvalidRequest(f"{field}.function.name", message)
        if function.name in names:
            raise InvalidRequest(f"{field}.function.name", f"Two tools are called {function.name!r}; rename one.")
        names.add(function.name)
        if function.parameters:
            _json(function.parameters, f"{field}.function.parameters", _is_object, "a JSON Schema, which is an object")
    for name in checked.tool_choice.functions:
        if name not in names:
            raise InvalidRequest("spec.tool_choice", f"tool_choice names {name!r}, which is none of the tools.")
    if checked.tool_choice.mode == run_pb2.TOOL_CHOICE_MODE_REQUIRED and not names:
        raise InvalidRequest("spec.tool_choice", "tool_choice requires a tool, but there are no tools.")


def _sampling(checked: run_pb2.RunSpec) -> None:
    if not checked.HasField("sampling"):
        return
    sampling = checked.sampling
    for field, value in sampling.ListFields():
        if field.name in _RANGES:
            low, high = _RANGES[field.name]
            # A number that is no number fails every comparison, so it is refused too.
            if not low <= value <= high:
                message = f"{field.name} is {value:g}; it must lie between {low:g} and {high:g}."
                raise InvalidRequest(f"spec.sampling.{field.name}", message)
    if len(sampling.stop) > 4:
        raise InvalidRequest("spec.sampling.stop", f"stop has {len(sampling.stop)} texts; it may have 4.")
    for token, bias in sampling.logit_bias.items():
        if not -100 <= bias <= 100:
            raise InvalidRequest("spec.sampling.logit_bias", f"The bias of {token!r} must lie between -100 and 100.")


def _model_options(checked: run_pb2.RunSpec) -> None:
    if not checked.model_options:
        return
    for name, value in checked.model_options.items():
        _json(value, f"spec.model_options.{name}", lambda _: True, "JSON")


def _json_schema(wanted: run_pb2.JsonSchemaFormat) -> None:
    field = "spec.response_format.json_schema"
    if not _FUNCTION_NAME.fullmatch(wanted.name):
        message = f"{field}.name must be letters, digits, underscores and hyphens, at most 64."
        raise InvalidRequest(f"{field}.name", message)
    if wanted.schema:
        _json(wanted.schema, f"{field}.schema", _is_object, "a JSON Schema, which is an object")


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _json(text: str, field: str, fits: Callable[[object], bool], what: str) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
        valid = False
    else:
        valid = fits(value)
    if not valid:
        raise InvalidRequest(field, f"{field} must be {what}.")


def items(wanted: Sequence[item_pb2.Item], checked: run_pb2.RunSpec) -> None:
    """Raise `InvalidRequest` where an item of the input cannot be taken in, or there is none to begin with."""
    if not wanted and not (checked.previous_run_id or checked.conversation_id):
        raise InvalidRequest("input", "input is empty; give at least one item.")
    each(wanted, "input")


def each(wanted: Iterable[item_pb2.Item], field: str) -> None:
    """Raise `InvalidRequest` where an item cannot be taken in."""
    for index, item in enumerate(wanted):
        _item(item, f"{field}[{index}]")


def _item(item: item_pb2.Item, field: str) -> None:  # noqa: C901 - one case a kind is the simplest form
    match item.WhichOneof("kind"):
        case "message":
            if item.message.role == item_pb2.ROLE_UNSPECIFIED:
                raise InvalidRequest(f"{field}.message.role", f"{field}.message.role is missing.")
            _content(item.message.content, f"{field}.message.content")
        case "function_call":
            if not item.function_call.call_id:
                raise InvalidRequest(f"{field}.function_call.call_id", f"{field}.function_call.call_id is missing.")
            if not item.function_call.name:
                raise InvalidRequest(f"{field}.function_call.name", f"{field}.function_call.name is missing.")
        case "function_call_output":
            output = item.function_call_output
            if not output.call_id:
                path = f"{field}.function_call_output.call_id"
                raise InvalidRequest(path, f"{path} is missing.")
            _content(output.content, f"{field}.function_call_output.content")
        case "item_reference":
            if not item.item_reference.id:
                raise InvalidRequest(f"{field}.item_reference.id", f"{field}.item_reference.id is missing.")
        case None:
            raise InvalidRequest(field, f"{field} has no kind that this server knows.")
        case _:
            pass


def _content(parts: Iterable[item_pb2.ContentPart], field: str) -> None:
    for index, part in enumerate(parts):
        path = f"{field}[{index}]"
        match part.WhichOneof("kind"):
            case "image":
                _image(part.image, f"{path}.image")
            case "file":
                _file(part.file, f"{path}.file")
            case None:
                message = f"{path} has no kind that this server knows."
                raise InvalidRequest(path, message, reason="UNSUPPORTED_CONTENT_TYPE")
            case _:
                pass


def _image(image: item_pb2.Image, path: str) -> None:
    if bool(image.url) == bool(image.file_id):
        message = f"{path} needs a url or a file_id, and not both."
        raise InvalidRequest(path, message, reason="INVALID_IMAGE_URL")
    if not image.url:
        return
    if image.url.startswith("data:"):
        if not image.url.startswith("data:image/"):
            message = f"{path}.url holds data that is no image; only data:image/ URLs are taken."
            raise InvalidRequest(f"{path}.url", message, reason="UNSUPPORTED_CONTENT_TYPE")
        if "," not in image.url:
            message = f"{path}.url is a data: URL without data; write data:image/TYPE;base64,DATA."
            raise InvalidRequest(f"{path}.url", message, reason="INVALID_IMAGE_URL")
    elif not _is_web_url(image.url):
        message = f"{path}.url must be an http, https or data:image/ URL."
        raise InvalidRequest(f"{path}.url", message, reason="INVALID_IMAGE_URL")


def _file(file: item_pb2.File, path: str) -> None:
    if sum(map(bool, (file.url, file.data, file.file_id))) != 1:
        message = f"{path} needs exactly one of url, data and file_id."
        raise InvalidRequest(path, message, reason="INVALID_CONTENT_PART")
    if file.url and not _is_web_url(file.url):
        message = f"{path}.url must be an http or https URL."
        raise InvalidRequest(f"{path}.url", message, reason="INVALID_CONTENT_PART")


def _is_web_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
