"""What a caller wants of the demo, read from the run."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from breezeway.v1 import item_pb2, run_pb2

from breezeway_server.agents.base import RunContext
from breezeway_server.agents.demo.calculator import find_expression
from breezeway_server.agents.demo.clock import find_place
from breezeway_server.agents.demo.shapes import sample

_FAIL = re.compile(r"^\W*(?:please\s+)?fail\b(?P<midway>.*\bmidway\b)?", re.IGNORECASE)
_COUNT = re.compile(r"\b(\d{1,5})\s+words?\b", re.IGNORECASE)
_LONG = re.compile(r"\blong\s+answer\b", re.IGNORECASE)
_THINK = re.compile(r"\bthink\b", re.IGNORECASE)
_ANY_TOOL = re.compile(r"\b(?:call|use)\s+(?:a|the|your|my|any)?\s*(?:tool|function)s?\b", re.IGNORECASE)
_APPROVE = re.compile(r"^\W*(?:please\s+)?approve\b[\s:,]*(?P<text>.*)", re.IGNORECASE | re.DOTALL)
_HELLO = re.compile(r"^\W*(?:hi|hello|hey|help|good \w+|what can (?:you|i)\b.*)\W*$", re.IGNORECASE)
_LONG_WORDS = 400
_MAX_WORDS = 10_000


class ToolUse(NamedTuple):
    """A call to make; `arguments` is JSON."""

    name: str
    arguments: str
    needs_approval: bool = False


class Ask(NamedTuple):
    """What is wanted. `returned` holds what tools of the caller gave back, as pairs of name and text."""

    text: str
    fail: bool = False
    fail_midway: bool = False
    think: bool = False
    hello: bool = False
    words: int = 0
    caller_tools: Sequence[ToolUse] = ()
    own_tools: Sequence[ToolUse] = ()
    returned: Sequence[tuple[str, str]] = ()


def read_ask(context: RunContext) -> Ask:
    """The wish of the last user message, unless the input brings outputs of tools: then it is about those."""
    text = _last_text(context.input) or _last_text(context.history)
    if returned := _returned(context):
        return Ask(text, returned=returned)
    spec = context.spec
    if caller_tools := _caller_tools(spec, text):
        return Ask(text, think=bool(_THINK.search(text)), caller_tools=caller_tools)
    fail = _FAIL.match(text)
    count = _COUNT.search(text)
    return Ask(
        text,
        fail=fail is not None and not fail["midway"],
        fail_midway=fail is not None and bool(fail["midway"]),
        think=bool(_THINK.search(text)),
        hello=not text or bool(_HELLO.match(text)),
        words=min(int(count[1]), _MAX_WORDS) if count else _LONG_WORDS if _LONG.search(text) else 0,
        own_tools=_own_tools(spec, text),
    )


def text_of(parts: Sequence[item_pb2.ContentPart]) -> str:
    """The written text among the parts."""
    return "\n".join(part.text.text for part in parts if part.WhichOneof("kind") == "text")


def _last_text(items: Sequence[item_pb2.Item]) -> str:
    for item in reversed(items):
        if item.WhichOneof("kind") == "message" and item.message.role == item_pb2.ROLE_USER:
            return text_of(item.message.content)
    return ""


def _returned(context: RunContext) -> list[tuple[str, str]]:
    """The outputs that stand behind the last user message of the input."""
    outputs: list[item_pb2.FunctionCallOutput] = []
    for item in reversed(context.input):
        kind = item.WhichOneof("kind")
        if kind == "message":
            break
        if kind == "function_call_output":
            outputs.insert(0, item.function_call_output)
    names = {
        item.function_call.call_id: item.function_call.name
        for item in (*context.history, *context.input)
        if item.WhichOneof("kind") == "function_call"
    }
    return [(names.get(output.call_id, output.call_id), text_of(output.content)) for output in outputs]


def _caller_tools(spec: run_pb2.RunSpec, text: str) -> list[ToolUse]:
    choice = spec.tool_choice
    allowed = [tool.function for tool in spec.tools if not choice.functions or tool.function.name in choice.functions]
    if choice.mode == run_pb2.TOOL_CHOICE_MODE_NONE or not allowed:
        return []
    named = [tool for tool in allowed if re.search(rf"\b{re.escape(tool.name)}\b", text)]
    if not named and (choice.mode == run_pb2.TOOL_CHOICE_MODE_REQUIRED or _ANY_TOOL.search(text)):
        named = allowed[:1]
    if spec.HasField("parallel_tool_calls") and not spec.parallel_tool_calls:
        named = named[:1]
    return [ToolUse(tool.name, _arguments(tool)) for tool in named]


def _arguments(tool: run_pb2.FunctionTool) -> str:
    try:
        schema = msgspec.json.decode(tool.parameters) if tool.parameters else {}
    except msgspec.DecodeError:
        schema = {}
    return msgspec.json.encode(sample({"type": "object", **schema} if isinstance(schema, dict) else {})).decode()


def _own_tools(spec: run_pb2.RunSpec, text: str) -> list[ToolUse]:
    if spec.tool_choice.mode == run_pb2.TOOL_CHOICE_MODE_NONE:
        return []
    if (approve := _APPROVE.match(text)) is not None:
        arguments = msgspec.json.encode({"text": approve["text"].strip() or "Greetings!"}).decode()
        return [ToolUse("postcard", arguments, needs_approval=True)]
    uses: list[ToolUse] = []
    if (expression := find_expression(text)) is not None:
        uses.append(ToolUse("calculator", msgspec.json.encode({"expression": expression}).decode()))
    if (place := find_place(text)) is not None:
        uses.append(ToolUse("clock", msgspec.json.encode({"place": place}).decode()))
    return uses
