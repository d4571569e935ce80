"""The errors of the domain: each has a reason, which is API and never reworded, and the gRPC code that fits.

BreezewayError
├── InvalidRequest            INVALID_REQUEST and narrower reasons, with the path of the field
├── NotFound                  RUN_NOT_FOUND, AGENT_NOT_FOUND, …
├── CursorExpired             CURSOR_EXPIRED
├── CursorAhead               CURSOR_AHEAD
├── ConversationLocked        CONVERSATION_LOCKED
├── AlreadyExists             CONVERSATION_EXISTS, …
│   └── RequestIdReused       REQUEST_ID_REUSED
├── FailedPrecondition        APPROVAL_ALREADY_RESOLVED, …
├── Unauthenticated           KEY_MISSING, KEY_UNKNOWN, KEY_EXPIRED, KEY_REVOKED
├── PermissionDenied          SCOPE_MISSING, TENANT_DENIED, CALLER_NOT_LOCAL
├── ResourceExhausted         RATE_LIMITED_REQUESTS, CONVERSATION_QUEUE_FULL, …
│   └── TooManyRuns           TOO_MANY_RUNS
└── Unavailable               SERVER_DRAINING, STORE_UNAVAILABLE

They are translated to google.rpc.Status once, in `services.interceptor`. docs/errors.md lists the reasons.
"""

from collections.abc import Sequence
from typing import ClassVar

from grpc import StatusCode


class BreezewayError(Exception):
    """Something that a caller can be told: `message` says what is wrong, where, and what to do."""

    code: ClassVar[StatusCode]

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidRequest(BreezewayError):
    """A field of the request is wrong; `field` is its path in the request message, e.g. `input[2].message.role`."""

    code = StatusCode.INVALID_ARGUMENT

    def __init__(self, field: str, message: str, *, reason: str = "INVALID_REQUEST") -> None:
        super().__init__(reason, message)
        self.field = field


class NotFound(BreezewayError):
    """What the request names is not there, or not the caller's: the two cannot be told apart.

    `field` is the path of the name in the request message, where it stands among others.
    """

    code = StatusCode.NOT_FOUND

    def __init__(self, reason: str, message: str, *, field: str = "") -> None:
        super().__init__(reason, message)
        self.field = field


class CursorExpired(BreezewayError):
    """Events above the cursor are no longer kept."""

    code = StatusCode.OUT_OF_RANGE

    def __init__(self, run_id: str, after: int) -> None:
        super().__init__(
            "CURSOR_EXPIRED", f"The events of {run_id} after {after} are no longer kept; read the run instead."
        )


class CursorAhead(BreezewayError):
    """The cursor lies above the newest event."""

    code = StatusCode.OUT_OF_RANGE

    def __init__(self, run_id: str, after: int, last: int) -> None:
        super().__init__("CURSOR_AHEAD", f"{run_id} has no event {after}; its newest is {last}.")


class ConversationLocked(BreezewayError):
    """The conversation has a run that is not over."""

    code = StatusCode.ABORTED

    def __init__(self, conversation_id: str, run_id: str) -> None:
        super().__init__(
            "CONVERSATION_LOCKED",
            f"Conversation {conversation_id} is busy with {run_id}; wait, cancel it, or ask to queue or to interrupt.",
        )


class AlreadyExists(BreezewayError):
    """The name is taken, by something else."""

    code = StatusCode.ALREADY_EXISTS


class RequestIdReused(AlreadyExists):
    """The request id came before with another body."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            "REQUEST_ID_REUSED", f"Request id {request_id!r} came before with another body; choose a new one."
        )


class FailedPrecondition(BreezewayError):
    """The thing is not in the state that the call needs."""

    code = StatusCode.FAILED_PRECONDITION


class Unauthenticated(BreezewayError):
    """Nobody knows who is calling."""

    code = StatusCode.UNAUTHENTICATED


class PermissionDenied(BreezewayError):
    """The caller is known, and may not do this."""

    code = StatusCode.PERMISSION_DENIED


class ResourceExhausted(BreezewayError):
    """A limit was met; `retry_after` is in seconds, `metadata` what else the caller is told of its limits."""

    code = StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, reason: str, message: str, retry_after: float) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after
        self.metadata: Sequence[tuple[str, str]] = ()


class TooManyRuns(ResourceExhausted):
    """The server has as many runs under way as it may."""

    def __init__(self, limit: int, retry_after: float) -> None:
        message = f"{limit} runs are under way, which is the limit; try again later."
        super().__init__("TOO_MANY_RUNS", message, retry_after)


class Unavailable(BreezewayError):
    """Not now; `retry_after` is in seconds."""

    code = StatusCode.UNAVAILABLE

    def __init__(self, reason: str, message: str, retry_after: float) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after
