"""What the demo says."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
from breezeway.v1 import run_pb2

from breezeway_server.agents.demo.asks import Ask
from breezeway_server.agents.demo.shapes import sample

INTRODUCTION = "I am Breezeway's demo agent, no model is behind me"
_CAN_DO = """\
What you can ask:
- "what is 12*(3+4)?" calls a calculator, for real
- "what time is it in Berlin?" calls a clock, for real
- "approve a postcard to Ann" writes one once somebody approves of it
- "think about ..." shows some reasoning first
- "long answer" or "50 words" writes that much
- name one of the tools of your request, and I call it
- "fail" and "fail midway" end in an error
- response_format, max_tokens and stop are kept to; temperature and its like change nothing, as there is no model"""
_TALE = (
    "A breezeway is the roofed passage between two houses and this one joins the house where agents live to the house "
    "where their users are so that whatever is said in the one is heard in the other in order and without a gap"
)
THOUGHT = "The question is read, no model is asked, and the answer follows from a few plain rules."
_MAX_QUOTE = 500


def answer(ask: Ask, results: Sequence[tuple[str, str, bool]]) -> str:
    """The answer to `ask`; `results` are name, text and whether it failed, of the demo's own tool calls."""
    if ask.returned:
        return " ".join(f'Your tool "{name}" returned: {text}' for name, text in ask.returned)
    if results:
        return " ".join(
            f"My {name} could not help: {text.rstrip('.')}." if failed else f"My {name} says: {text}."
            for name, text, failed in results
        )
    if ask.words:
        return " ".join(itertools.islice(itertools.cycle(_TALE.split()), ask.words))
    if ask.fail_midway:
        return "This answer begins well, and then"
    if ask.hello:
        return f"Hello! {INTRODUCTION}.\n{_CAN_DO}"
    quote = ask.text if len(ask.text) <= _MAX_QUOTE else f"{ask.text[:_MAX_QUOTE]} …"
    return f'{INTRODUCTION}, so I can only repeat what you said: {quote}\nSay "help" to see what I can do.'


def in_form(text: str, wanted: run_pb2.ResponseFormat) -> str:
    """The answer in the form that was asked for."""
    match wanted.WhichOneof("kind"):
        case "json_object":
            return _json({"agent": "demo", "answer": text})
        case "json_schema":
            return _json(sample(_decode(wanted.json_schema.schema)))
        case _:
            return text


def _decode(schema: str) -> Any:
    try:
        return msgspec.json.decode(schema) if schema else {"type": "object"}
    except msgspec.DecodeError:
        return {"type": "object"}


def _json(value: Any) -> str:
    # With spaces after the commas, so that it streams word by word like everything else.
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
