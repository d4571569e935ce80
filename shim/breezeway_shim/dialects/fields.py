"""The way from the server's names of fields back to a caller's, where input is a list of OpenAI's items."""

import re

from breezeway_shim.errors import FieldToParam

_ITEM = re.compile(r"(?:input|items)\[(?P<index>\d+)\]\.?(?:(?P<kind>\w+)\.)?(?P<field>.*)")
_TOOL = re.compile(r"(tools\[\d+\])\.function(.*)")
_SPEC_FIELDS = {
    "agent": "model",
    "previous_run_id": "previous_response_id",
    "conversation_id": "conversation",
    "durability": "store",
    "verbosity": "text.verbosity",
}
_PREFIXES = {
    "sampling.": "",
    "model_options.": "",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "tool_choice.": "tool_choice.",
}


def item_param(field: str, path: str, *, skip: int = 0) -> str:
    """What the caller calls a field of an item, below `path`; `skip` items of the server's are not in that list."""
    match = _ITEM.fullmatch(field)
    if match is None:
        return path
    name = match["field"]
    if match["kind"] == "function_call_output":
        name = name.replace("content", "output", 1)
    return f"{path}[{int(match['index']) - skip}].{name}".removesuffix(".")


def field_to_param(history: int, *, input_is_list: bool) -> FieldToParam:
    """The way back for a request whose first `history` items came from `conversation_history`."""

    def param(field: str) -> str | None:
        if field == "request_id":
            return "Idempotency-Key"
        if field.startswith("input"):
            match = _ITEM.fullmatch(field)
            if match is not None and int(match["index"]) < history:
                return item_param(field, "conversation_history")
            return item_param(field, "input", skip=history) if input_is_list else "input"
        name = field.removeprefix("spec.")
        if match := _TOOL.fullmatch(name):
            return f"{match[1]}{match[2]}"
        for prefix, replacement in _PREFIXES.items():
            if name.startswith(prefix):
                return replacement + name.removeprefix(prefix)
        return _SPEC_FIELDS.get(name, name)

    return param
