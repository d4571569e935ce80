"""What can go wrong with a remote agent, each as the error of the run: one function a fault."""

import re
from collections.abc import Sequence
from typing import Any

import grpc
from breezeway.v1 import run_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from breezeway_server.agents.base import AgentError
from breezeway_server.agents.errors import failure, run_error

_DETAILS_KEY = "grpc-status-details-bin"
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_CODES = range(1, 17)
_LONGEST_MESSAGE = 4096


def unreachable(agent: str) -> AgentError:
    """No endpoint is connected and healthy."""
    return failure(
        "AGENT_UNAVAILABLE", f'Agent "{agent}" cannot be reached; try again later.', grpc.StatusCode.UNAVAILABLE
    )


def misbehaved(agent: str) -> AgentError:
    """The agent does not keep to the contract."""
    return failure(
        "AGENT_FAILED", f'Agent "{agent}" failed; its operator finds why in the log.', grpc.StatusCode.INTERNAL
    )


def asked_too_much(agent: str, what: str) -> AgentError:
    """The run asks for something that the agent turned out not to take; `what` names it."""
    return failure("AGENT_REJECTED", f'Agent "{agent}" does not take {what}.', grpc.StatusCode.INVALID_ARGUMENT)


def not_resumable(agent: str) -> AgentError:
    """A later attempt of a run whose agent turned out to be unable to go on."""
    return failure(
        "SERVER_RESTARTED",
        f"The server was restarted, and agent {agent} cannot go on where it was.",
        grpc.StatusCode.ABORTED,
    )


def said(agent: str, error: run_pb2.RunError) -> AgentError:
    """The agent failed in its own words. Those that cannot be a RunError's are replaced."""
    clean = run_pb2.RunError()
    clean.CopyFrom(error)
    clean.code = error.code if error.code in _CODES else grpc.StatusCode.INTERNAL.value[0]
    clean.reason = error.reason if _REASON.fullmatch(error.reason) else "AGENT_FAILED"
    clean.message = error.message[:_LONGEST_MESSAGE] or f'Agent "{agent}" failed and did not say why.'
    return AgentError(clean)


def ended(agent: str, error: grpc.aio.AioRpcError, *, begun: bool) -> AgentError:
    """A call ended with a status; `begun` says whether steps had come before."""
    details = _details(error)
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            what = "was lost while it worked; what came is kept" if begun else "is not available; try again later"
            return AgentError(
                run_error(
                    "AGENT_UNAVAILABLE",
                    f'Agent "{agent}" {what}.',
                    grpc.StatusCode.UNAVAILABLE,
                    retry_after=_retry_after(details),
                )
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return failure(
                "AGENT_TIMEOUT",
                f'Agent "{agent}" did not end within its deadline; what came is kept.',
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )
        case grpc.StatusCode.INVALID_ARGUMENT:
            quote = f": {details.message[:_LONGEST_MESSAGE]}" if details and details.message else "."
            return failure(
                "AGENT_REJECTED",
                f'Agent "{agent}" refused the request{quote}',
                grpc.StatusCode.INVALID_ARGUMENT,
                param=_param(details),
            )
        case _:
            return misbehaved(agent)


def _details(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The google.rpc.Status that the agent sent with the status, if any."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _retry_after(details: status_pb2.Status | None) -> float | None:
    """In seconds."""
    retry = error_details_pb2.RetryInfo()
    for detail in _any(details):
        if detail.Unpack(retry):
            return max(0.0, float(retry.retry_delay.ToMilliseconds()) / 1000)
    return None


def _param(details: status_pb2.Status | None) -> str:
    fault = error_details_pb2.BadRequest()
    for detail in _any(details):
        if detail.Unpack(fault) and fault.field_violations:
            return str(fault.field_violations[0].field)
    return ""


def _any(details: status_pb2.Status | None) -> Sequence[Any]:
    return details.details if details is not None else ()
