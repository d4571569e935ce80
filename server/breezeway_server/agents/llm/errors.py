"""What can go wrong with an upstream, each as the error of the run: one function a fault."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import grpc
from breezeway.v1 import run_pb2

from breezeway_server.agents.base import AgentError
from breezeway_server.agents.errors import run_error
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.wire import ErrorBody

_REFUSED_PARAMETER = {400, 413, 422}
_PASSING = {408, 409, 429}
_HOPELESS_CODES = {"insufficient_quota"}  # a 429 that waiting does not cure
_WRONG_MODEL_CODES = {"model_not_found"}
_TOO_LONG = re.compile(
    # In the words of OpenAI, vLLM, SGLang, Ollama, llama.cpp, Mistral; of vLLM's encoder; of Anthropic; of Gemini.
    r"context[ _-]?(?:length|size|window)|maximum model length|prompt is too long|token count .*exceeds",
    re.IGNORECASE,
)


class UpstreamError(AgentError):
    """A model call failed.

    `retryable`: the same call may succeed soon. `another_model`: a fallback may do better. `too_long`: there was more
    to read than the model can.
    """

    def __init__(
        self,
        error: run_pb2.RunError,
        *,
        retryable: bool = False,
        another_model: bool = True,
        too_long: bool = False,
    ) -> None:
        super().__init__(error)
        self.too_long = too_long
        self.retryable = retryable
        self.another_model = another_model

    @property
    def retry_after(self) -> float | None:
        """Seconds, where the upstream said so."""
        return self.error.retry_after.ToMilliseconds() / 1000 if self.error.HasField("retry_after") else None


def unavailable(model: str) -> UpstreamError:
    """No connection, or one that broke before the upstream answered."""
    return UpstreamError(
        run_error(
            "UPSTREAM_UNAVAILABLE",
            f"The provider of model {model} cannot be reached; try again later.",
            grpc.StatusCode.UNAVAILABLE,
        ),
        retryable=True,
    )


def timed_out(model: str, what: str, seconds: float) -> UpstreamError:
    """A deadline passed; `what` says which."""
    return UpstreamError(
        run_error(
            "UPSTREAM_TIMEOUT",
            f"The provider of model {model} was too slow: {what} within {seconds:g} s; try again later.",
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
    )


def cut(model: str) -> UpstreamError:
    """The stream ended in the middle."""
    return UpstreamError(
        run_error(
            "UPSTREAM_CUT",
            f"The provider of model {model} broke off its answer; what came is kept, try again for a whole one.",
            grpc.StatusCode.UNAVAILABLE,
        )
    )


def malformed(model: str, what: str) -> UpstreamError:
    """The upstream does not keep to the protocol; `what` says how, in words of ours."""
    return UpstreamError(
        run_error(
            "UPSTREAM_MALFORMED",
            f"The provider of model {model} answered with {what}, which is no chat-completions stream.",
            grpc.StatusCode.INTERNAL,
        )
    )


def refused(
    model: str, status: int, body: ErrorBody, redact: Redactor, *, retry_after: float | None = None
) -> UpstreamError:
    """The upstream answered with an error, as an HTTP status or inside its stream."""
    said = redact(body.message or "")
    code = redact(str(body.code)) if isinstance(body.code, str) else ""
    quote = f": {said}" if said else "."
    if status in {401, 403}:
        # Our key, not the caller's: the provider's text is about the operator's account and goes to nobody.
        return UpstreamError(
            run_error(
                "UPSTREAM_AUTH",
                f"The provider of model {model} refuses this server's credentials; its operator must correct them.",
                grpc.StatusCode.INTERNAL,
            )
        )
    if status == 429:
        return UpstreamError(
            run_error(
                "UPSTREAM_RATE_LIMITED",
                f"The provider of model {model} limits the rate of calls{quote}",
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                retry_after=retry_after,
                upstream_code=code,
            ),
            retryable=code not in _HOPELESS_CODES,
        )
    if status in _REFUSED_PARAMETER and code not in _WRONG_MODEL_CODES:
        return UpstreamError(
            run_error(
                "UPSTREAM_REJECTED",
                f"Model {model} refused the request{quote}",
                grpc.StatusCode.INVALID_ARGUMENT,
                param=redact(body.param or ""),
                upstream_code=code,
            ),
            another_model=False,
            too_long=bool(_TOO_LONG.search(f"{body.code} {body.type} {body.message}")),
        )
    fleeting = status >= 500 or status in _PASSING
    return UpstreamError(
        run_error(
            "UPSTREAM_ERROR",
            f"The provider of model {model} failed with status {status}{quote}",
            grpc.StatusCode.UNAVAILABLE if fleeting else grpc.StatusCode.INTERNAL,
            retry_after=retry_after,
            upstream_code=code,
        ),
        retryable=fleeting,
    )


def in_stream(model: str, body: ErrorBody, redact: Redactor) -> UpstreamError:
    """An error object came where a chunk was due; its status is read from its code or type, 500 where neither says."""
    words = {str(body.code or ""), body.type or ""}
    status = 500
    if words & {"rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "tokens", "requests"}:
        status = 429
    elif "invalid_request_error" in words:
        status = 400
    for word in words:
        if word.isdecimal() and 400 <= int(word) < 600:
            status = int(word)
    return refused(model, status, body, redact)


def read_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The wait that the upstream asks for, in seconds: `retry-after-ms`, or `Retry-After` as seconds or HTTP date.

    `now` is seconds since the epoch. Nothing, nonsense or more than a day is None.
    """
    for name, unit in (("Retry-After-Ms", 1000.0), ("Retry-After", 1.0)):
        try:
            return _sane(float(headers.get(name, "")) / unit)
        except ValueError:
            continue
    try:
        return _sane(parsedate_to_datetime(headers.get("Retry-After", "")).timestamp() - now)
    except ValueError:
        return None


def _sane(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds <= 86_400 else None
