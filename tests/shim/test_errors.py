import ast
import re
from pathlib import Path

import breezeway_server
import grpc
import msgspec
import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway_shim.dialects.fields import field_to_param
from breezeway_shim.errors import REASONS, ApiError, error_of_end, rpc_failed, run_failed
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2
from grpc.aio import AioRpcError, Metadata

from tests.support.fake_server import refusal

RUN_ERRORS = [
    ("UPSTREAM_RATE_LIMITED", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("UPSTREAM_TIMEOUT", 504, "server_error", "upstream_timeout"),
    ("UPSTREAM_UNAVAILABLE", 502, "server_error", "upstream_unavailable"),
    ("UPSTREAM_ERROR", 502, "server_error", "upstream_error"),
    ("UPSTREAM_MALFORMED", 502, "server_error", "upstream_malformed"),
    ("UPSTREAM_AUTH", 502, "server_error", "upstream_auth"),
    ("RUN_TIMEOUT", 504, "server_error", "run_timeout"),
    ("RUN_INTERRUPTED", 503, "server_error", "run_interrupted"),
    ("SERVER_STOPPED", 503, "server_error", "server_stopped"),
    ("SERVER_RESTARTED", 503, "server_error", "server_restarted"),
    ("AGENT_FAILED", 502, "server_error", "agent_failed"),
    ("A_REASON_OF_TOMORROW", 502, "server_error", "a_reason_of_tomorrow"),
]


@pytest.mark.parametrize(("reason", "status", "type_", "code"), RUN_ERRORS)
def test_a_failed_run_has_the_status_of_its_reason(reason: str, status: int, type_: str, code: str) -> None:
    error = run_failed(run_pb2.RunError(reason=reason, message="It broke.", code=13))
    assert (error.status, error.type, error.code, error.message) == (status, type_, code, "It broke.")


def test_a_parameter_that_the_model_refused_is_named_with_the_models_own_code() -> None:
    refused = run_pb2.RunError(
        reason="UPSTREAM_REJECTED", message="Too hot.", code=3, param="temperature", upstream_code="too_hot"
    )
    error = run_failed(refused)
    assert (error.status, error.param, error.code) == (400, "temperature", "too_hot")


def test_a_run_error_says_when_to_try_again_in_whole_seconds() -> None:
    error = run_failed(run_pb2.RunError(reason="UPSTREAM_RATE_LIMITED", retry_after=Duration(seconds=1, nanos=1)))
    assert error.headers == {"Retry-After": "2"}


def test_a_cancelled_run_is_499_which_no_sdk_tries_again() -> None:
    error = error_of_end(event_pb2.RunEvent(run_cancelled=event_pb2.RunCancelled()))
    assert error is not None
    assert (error.status, error.code) == (499, "run_cancelled")


def test_a_run_that_ends_well_has_no_error() -> None:
    assert error_of_end(event_pb2.RunEvent(run_completed=event_pb2.RunCompleted())) is None
    assert error_of_end(event_pb2.RunEvent()) is None


def test_the_body_always_has_all_four_keys() -> None:
    body = msgspec.json.decode(ApiError(400, "invalid_request_error", None, "No.").body())
    assert body == {"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}


def failed_call(status: status_pb2.Status) -> AioRpcError:
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    details = ("grpc-status-details-bin", status.SerializeToString())
    return AioRpcError(code, Metadata(), Metadata(details), details=status.message)


STATUSES = [
    (refusal(grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND", "No x."), 404, "model_not_found", "model"),
    (
        refusal(grpc.StatusCode.NOT_FOUND, "PREVIOUS_RUN_NOT_FOUND", "No."),
        400,
        "previous_response_not_found",
        "previous_response_id",
    ),
    (refusal(grpc.StatusCode.ABORTED, "CONVERSATION_LOCKED", "Busy."), 409, "conversation_locked", None),
    (refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "No."), 422, "idempotency_key_reused", None),
    (refusal(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_EXPIRED", "Gone."), 410, "cursor_expired", None),
    (refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "Bad.", field="spec.x"), 400, None, "spec.x"),
    (refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_IMAGE_URL", "Bad."), 400, "invalid_image_url", None),
    (refusal(grpc.StatusCode.UNAUTHENTICATED, "KEY_UNKNOWN", "Who?"), 401, "invalid_api_key", None),
    (refusal(grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS", "No."), 403, "permission_denied", None),
    (refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_RUNS", "Full."), 429, "rate_limit_exceeded", None),
    (refusal(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "Soon."), 503, "server_unavailable", None),
    (refusal(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "Soon."), 503, "server_unavailable", None),
    (
        refusal(grpc.StatusCode.FAILED_PRECONDITION, "PREVIOUS_RUN_NOT_OVER", "Wait."),
        409,
        "previous_response_not_over",
        "previous_response_id",
    ),
    (refusal(grpc.StatusCode.OUT_OF_RANGE, "CURSOR_AHEAD", "No."), 400, "cursor_ahead", None),
    (refusal(grpc.StatusCode.INVALID_ARGUMENT, "CALL_NOT_FOUND", "No."), 400, "call_not_found", None),
    (refusal(grpc.StatusCode.NOT_FOUND, "ITEM_NOT_FOUND", "No."), 404, "not_found", None),
    (refusal(grpc.StatusCode.INTERNAL, "INTERNAL", "Quote request id 7."), 500, "internal_error", None),
]


@pytest.mark.parametrize(("status", "http", "code", "param"), STATUSES)
def test_a_refused_call_has_the_status_of_its_reason(
    status: status_pb2.Status, http: int, code: str | None, param: str | None
) -> None:
    error = rpc_failed(failed_call(status))
    assert (error.status, error.code, error.param, error.message) == (http, code, param, status.message)


def test_retry_info_becomes_retry_after() -> None:
    status = refusal(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING", "Soon.", retry_after=5)
    assert rpc_failed(failed_call(status)).headers == {"Retry-After": "5"}


def test_the_field_at_fault_is_told_in_the_callers_words() -> None:
    status = refusal(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "Bad.", field="spec.agent")
    assert rpc_failed(failed_call(status), lambda field: field.replace("spec.agent", "model")).param == "model"


def test_what_is_not_there_is_told_in_the_callers_words_where_the_server_says_which_it_is() -> None:
    field = "input[2].item_reference.id"
    status = refusal(grpc.StatusCode.NOT_FOUND, "ITEM_NOT_FOUND", "No.", field=field)
    error = rpc_failed(failed_call(status), field_to_param(1, input_is_list=True))
    assert (error.status, error.code, error.param) == (404, "not_found", "input[1].id")


def test_words_of_the_transport_do_not_reach_the_caller() -> None:
    lost = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), details="failed to connect to 10.0.0.7")
    error = rpc_failed(lost)
    assert error.status == 503
    assert "10.0.0.7" not in error.message
    assert error.headers == {"Retry-After": "1"}


# The shim's own word for a run that somebody cancelled: over gRPC that is no error.
OWN_REASONS = {"RUN_CANCELLED"}
REASON = re.compile(r"(?!BREEZEWAY_|OPENAI_|OTEL_|PROMETHEUS_|XDG_)[A-Z]+(_[A-Z]+)+")


def test_the_table_has_every_reason_of_the_server_and_no_other() -> None:
    sources = Path(breezeway_server.__file__).parent.rglob("*.py")
    constants = (
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    reasons = {constant for constant in constants if REASON.fullmatch(constant)}
    assert reasons | OWN_REASONS == set(REASONS)
