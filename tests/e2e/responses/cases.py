"""Named cases of responses: what is asked for, what the model says, and what must come out, however it is read."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.e2e.responses.openai_http import Json, function
from tests.support.model_server import (
    DONE,
    Chunk,
    Script,
    Stream,
    answer,
    call,
    calls,
    finish,
    reasoning,
    text,
    usage,
)


class Case(NamedTuple):
    """`output` is what the items hold, in order; `events` those that must be among the stream's."""

    body: Json
    replies: Sequence[Script]
    output: Sequence[Any]
    status: str = "completed"
    events: frozenset[str] = frozenset()
    incomplete: str | None = None


_SCHEMA = {
    "type": "json_schema",
    "name": "point",
    "schema": {"type": "object", "properties": {"x": {"type": "integer", "maximum": 2**70}}, "required": ["x"]},
    "strict": True,
}
_TOKEN = {
    "token": "hi",
    "logprob": -0.5,
    "bytes": None,
    "top_logprobs": [{"token": "ho", "logprob": -1, "bytes": None}],
}
_LIKELY = Chunk({"choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": [_TOKEN]}}]})
_DECLINES = Chunk({"choices": [{"index": 0, "delta": {"refusal": "I must not."}}]})
_TOOLS = [function("weather"), function("time")]
_PARALLEL = (
    call("weather", '{"city":  "Rome"}', call_id="call_a"),
    call("time", '{"city": "Ro', call_id="call_b", at=1),
)
_ONE = call("weather", {"city": "Rome"}, call_id="call_a")
_CALLED = frozenset({"response.function_call_arguments.delta", "response.function_call_arguments.done"})

CASES: Mapping[str, Case] = {
    "text": Case(
        {"input": "hi"}, [answer("Grüße", " 東京 🚀", '\n\u2028"\\')], ['Grüße 東京 🚀\n\u2028"\\'], events=frozenset()
    ),
    "no text at all": Case({"input": "hi"}, [Stream([finish(), usage(3, 0), DONE])], []),
    "json schema": Case({"input": "hi", "text": {"format": _SCHEMA}}, [answer('{"x":', "1}")], ['{"x":1}']),
    "one call": Case({"input": "hi", "tools": _TOOLS}, [calls(_ONE)], [("call_a", '{"city": "Rome"}')], events=_CALLED),
    "parallel calls": Case(
        {"input": "hi", "tools": _TOOLS},
        [calls(*_PARALLEL)],
        [("call_a", '{"city":  "Rome"}'), ("call_b", '{"city": "Ro')],
        events=_CALLED,
    ),
    "text before a call": Case(
        {"input": "hi", "tools": _TOOLS},
        [calls(_ONE, before=text("Let me ", "look."))],
        ["Let me look.", ("call_a", '{"city": "Rome"}')],
        events=_CALLED,
    ),
    "the agent's own call": Case(
        {"model": "tooled", "input": "hi"},
        [calls(_ONE), answer("It is sunny.")],
        [("call_a", '{"city": "Rome"}'), ("call_a", "sunny in Rome"), "It is sunny."],
        events=_CALLED,
    ),
    "the agent's call and the caller's": Case(
        {"model": "tooled", "input": "hi", "tools": [function("time")]},
        [calls(_ONE, call("time", "{}", call_id="call_b", at=1))],
        [("call_a", '{"city": "Rome"}'), ("call_b", "{}"), ("call_a", "sunny in Rome")],
        events=_CALLED,
    ),
    "a thought": Case(
        {"input": "hi", "reasoning": {"effort": "low"}},
        [Stream([*reasoning("hm", "m"), *text("yes"), finish(), usage(1, 9, reasoning_tokens=7), DONE])],
        [["hmm"], "yes"],
        events=frozenset({"response.reasoning_text.delta", "response.reasoning_text.done"}),
    ),
    "a refusal": Case(
        {"input": "hi"},
        [Stream([_DECLINES, finish(), usage(1, 3), DONE])],
        [{"refusal": "I must not."}],
        events=frozenset({"response.refusal.delta", "response.refusal.done"}),
    ),
    "log probabilities": Case(
        {"input": "hi", "include": ["message.output_text.logprobs"], "top_logprobs": 1},
        [Stream([_LIKELY, finish(), usage(1, 1), DONE])],
        ["hi"],
    ),
    "the token limit": Case(
        {"input": "hi", "max_output_tokens": 5},
        [answer("cut ", "sho", reason="length")],
        ["cut sho"],
        status="incomplete",
        incomplete="max_output_tokens",
    ),
    "the content filter": Case(
        {"input": "hi"},
        [answer("cut", reason="content_filter")],
        ["cut"],
        status="incomplete",
        incomplete="content_filter",
    ),
    "the limit of tool calls": Case(
        {"model": "tooled", "input": "hi", "max_tool_calls": 1},
        [calls(_ONE), calls(call("weather", {"city": "Oslo"}, call_id="call_b"))],
        [("call_a", '{"city": "Rome"}'), ("call_a", "sunny in Rome"), ("call_b", '{"city": "Oslo"}')],
        status="incomplete",
        incomplete="max_output_tokens",
        events=_CALLED,
    ),
}
"""Each must be the same as the stream of a POST, as its answer, and in a later GET."""
