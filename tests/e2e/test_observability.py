"""What operators see of the running system: numbers that are exactly what was asked, health, and log lines."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_keys import KEY, call
from tests.support.metrics import Scrape
from tests.support.system import START_SECONDS, ReservedPort, System

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System.serving(tmp_path, environ={"BREEZEWAY_LOG_FORMAT": "json"}) as system:
        yield system


def scrape(system: System, key: str = "") -> Scrape:
    status, text = call(system, "GET", "/metrics", key)
    assert status == 200, text
    return Scrape(text)


def requests_in(system: System) -> list[dict[str, Any]]:
    """The lines of the requests so far."""
    lines = [json.loads(line) for line in system.output.text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "request"]


def test_the_metrics_are_exactly_what_was_asked(system: System) -> None:
    before = scrape(system)
    assert before("breezeway_runs_total", agent="demo", state="completed") == 0
    status, answer = call(system, "POST", "/v1/chat/completions", body=CHAT)
    assert status == 200, answer
    usage = json.loads(answer)["usage"]
    status, stream = call(system, "POST", "/v1/chat/completions", body={**CHAT, "stream": True})
    assert stream.endswith("data: [DONE]\n\n")
    status, stored = call(system, "POST", "/v1/responses", body={"model": "demo", "input": "hello"})
    assert status == 200, stored
    response_id = json.loads(stored)["id"]
    for _ in range(2):
        assert call(system, "GET", f"/v1/responses/{response_id}")[0] == 200
    assert call(system, "POST", "/v1/responses", body={"model": "nobody", "input": "hello"})[0] == 404
    assert call(system, "GET", "/no/such/path")[0] == 404
    assert call(system, "GET", "/api/agents")[0] == 200

    after = scrape(system)
    assert after("breezeway_runs_total", agent="demo", state="completed") == 3
    for state in ("incomplete", "failed", "cancelled"):
        assert after("breezeway_runs_total", agent="demo", state=state) == 0
    for state in ("queued", "in_progress", "requires_action"):
        assert after("breezeway_runs_active", agent="demo", state=state) == 0
    assert after("breezeway_run_seconds_count", agent="demo") == 3
    assert after("breezeway_time_to_first_token_seconds_count", agent="demo") == 3
    # The same question three times: the demo uses the same for each.
    assert after("breezeway_tokens_total", agent="demo", kind="output") == 3 * usage["completion_tokens"]
    assert after("breezeway_tokens_total", agent="demo", kind="input") == 3 * usage["prompt_tokens"]
    assert after("breezeway_rejected_total", reason="AGENT_NOT_FOUND") == 1
    assert after.labels("breezeway_runs_total", "agent") == {"demo"}
    assert after("breezeway_events_total") > after("breezeway_commit_events_sum") > 0
    assert after("breezeway_commits_total") == after("breezeway_commit_seconds_count") > 0
    for name in (
        "breezeway_events_lost_total",
        "breezeway_store_errors_total",
        "breezeway_log_pending_bytes",
        "breezeway_readers",
        "breezeway_reader_lag_events",
        "breezeway_server_draining",
        "breezeway_http_streams",
        "breezeway_backend_reconnects_total",
    ):
        assert after(name) == 0, name
    assert after("breezeway_jobs_fired_total", outcome="started") == 0
    assert after("breezeway_backend_up") == 1
    assert after.labels("breezeway_build_info", "version")

    def asked(route: str, method: str, status: int) -> float:
        return after("breezeway_http_requests_total", route=route, method=method, status=str(status))

    assert asked("/v1/chat/completions", "POST", 200) == 2
    assert asked("/v1/responses", "POST", 200) == 1
    assert asked("/v1/responses", "POST", 404) == 1
    assert asked("/v1/responses/{response_id}", "GET", 200) == 2
    assert asked("unmatched", "GET", 404) == 1
    assert asked("/api/agents", "GET", 200) == 1
    assert after("breezeway_http_request_seconds_count", route="/v1/chat/completions") == 2
    assert after("breezeway_http_stream_seconds_count", route="/v1/chat/completions") == 1


def test_health_routes_say_how_it_is(system: System) -> None:
    for path in ("/health", "/v1/health", "/ready", "/alive"):
        assert call(system, "GET", path) == (200, '{"status":"ok"}')
    status, text = call(system, "GET", "/health/detailed")
    said = json.loads(text)
    assert (status, said["status"]) == (200, "ok")
    assert said["server"]["pid"] == system.pid_of("breezeway_server")
    assert said["shim"]["pid"] == system.pid_of("breezeway_shim")
    assert said["server"]["active_runs"] == {"queued": 0, "in_progress": 0, "requires_action": 0}
    assert [part["ready"] for part in said["server"]["parts"]] == [True] * 4


def test_a_request_is_one_line_that_leads_to_its_run(system: System) -> None:
    forged = {"x-request-id": "abc-1", "User-Agent": "x"}
    call(system, "POST", "/v1/chat/completions", body={**CHAT, "stream": True}, **forged)
    call(system, "GET", "/v1/models/%0Aforged%1b[31m")
    call(system, "GET", "/health")
    system.terminate()
    ours = requests_in(system)
    chat = next(line for line in ours if line["route"] == "/v1/chat/completions")
    assert (chat["method"], chat["status"], chat["request_id"]) == ("POST", 200, "abc-1")
    assert chat["run_id"].startswith("run_")
    assert chat["seconds"] > 0
    assert not any(line["route"] == "/health" for line in ours)
    assert "forged" not in system.output.text
    assert all(line.startswith("{") for line in system.output.text.splitlines() if '"event"' in line)


def test_lines_of_requests_can_be_turned_off(tmp_path: Path) -> None:
    environ = {"BREEZEWAY_ACCESS_LOG": "false", "BREEZEWAY_LOG_FORMAT": "json"}
    with System.serving(tmp_path, environ=environ) as system:
        assert call(system, "GET", "/v1/models")[0] == 200
        system.terminate()
        assert requests_in(system) == []


def test_metrics_and_detailed_health_are_for_operators(tmp_path: Path) -> None:
    with System.serving(tmp_path, environ={"BREEZEWAY_API_KEYS": KEY}) as system:
        for path in ("/metrics", "/health/detailed", "/api/status", "/api/metrics"):
            assert call(system, "GET", path)[0] == 401
            assert call(system, "GET", path, KEY)[0] == 200
        status, made = call(system, "POST", "/api/keys", KEY, {"scopes": ["KEY_SCOPE_ADMIN"], "tenant": "other"})
        assert status == 200, made
        other = json.loads(made)["secret"]
        for path in ("/metrics", "/health/detailed"):
            assert call(system, "GET", path, other)[0] == 403


def test_without_keys_they_are_for_this_machine(system: System) -> None:
    for path in ("/metrics", "/health/detailed"):
        assert call(system, "GET", path, Host="breezeway.example")[0] == 403
    assert call(system, "GET", "/alive", Host="breezeway.example")[0] == 200


def test_the_server_answers_metrics_on_an_address_of_its_own(tmp_path: Path) -> None:
    with ReservedPort.reserved() as port:
        environ = {"BREEZEWAY_METRICS_LISTEN": f"0.0.0.0:{port.number}"}
        with System.serving(tmp_path, environ=environ):
            host = socket.gethostbyname("localhost")
            url = f"http://{host}:{port.number}/metrics"
            with urllib.request.urlopen(url, timeout=START_SECONDS) as response:
                assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert Scrape(response.read().decode())("breezeway_server_draining") == 0


def test_shims_that_share_a_port_count_together(tmp_path: Path) -> None:
    with System.serving(tmp_path, environ={"BREEZEWAY_SHIMS": "2"}) as system:
        for _ in range(6):
            assert call(system, "GET", "/v1/capabilities")[0] == 200
        # Each time one of the two answers, and which one is chance.
        for _ in range(6):
            seen = scrape(system)
            assert seen("breezeway_http_requests_total", route="/v1/capabilities", method="GET", status="200") == 6
            assert seen("breezeway_http_streams") == 0
            assert seen("breezeway_backend_up") == 1
