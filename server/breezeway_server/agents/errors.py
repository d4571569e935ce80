"""How agents fail: `ConfigError` at start, and `failure`, which builds the `AgentError` of a run."""

import grpc
from breezeway.v1 import run_pb2

from breezeway_server.agents.base import AgentError


class ConfigError(Exception):
    """The server cannot start with these agents; the message names the file, the key and what to do."""


def run_error(
    reason: str,
    message: str,
    code: grpc.StatusCode,
    *,
    retry_after: float | None = None,
    param: str = "",
    upstream_code: str = "",
) -> run_pb2.RunError:
    """The error as a run carries it; `retry_after` is in seconds."""
    error = run_pb2.RunError(
        reason=reason, message=message, code=code.value[0], param=param, upstream_code=upstream_code
    )
    if retry_after is not None:
        error.retry_after.FromMilliseconds(round(retry_after * 1000))
    return error


def failure(reason: str, message: str, code: grpc.StatusCode, *, param: str = "") -> AgentError:
    """An `AgentError` to raise, for faults that no model had a part in."""
    return AgentError(run_error(reason, message, code, param=param))
