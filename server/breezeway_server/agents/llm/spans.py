"""The span of a model call, in the words of OpenTelemetry's conventions for generative AI."""

from collections.abc import Mapping

from breezeway.telemetry.traces import Kind, Span, current_span

from breezeway_server.agents.base import AgentError
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.spans import usage_attributes


def begin_chat(model: str, address: str) -> Span:
    """Begin the span of a call of a model at an upstream of that host."""
    return current_span().begin(
        f"chat {model}",
        Kind.CLIENT,
        {
            "gen_ai.operation.name": "chat",
            # What is known of an upstream is whose API it speaks.
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "server.address": address,
        },
    )


def trace_headers(span: Span) -> Mapping[str, str]:
    """Return the headers by which an upstream learns of the span.

    Empty where nobody records it: a caller's own trace is nothing that a model's provider needs to know.
    """
    return dict(span.carrier.pairs) if span.recorded else {}


def end_chat(span: Span, fold: ModelStream, error: BaseException | None) -> None:
    """End it, with the usage where the upstream has reported it in its stream."""
    if span.recorded and (said := fold.usage_step()) is not None:
        span.note({"gen_ai.response.model": said.model, **usage_attributes(said.usage)})
    if isinstance(error, AgentError):
        span.end(error.error.reason)
    else:
        span.end("" if error is None else "cancelled")
