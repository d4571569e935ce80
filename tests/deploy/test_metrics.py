"""Dashboard and alerts against the metrics that a running system shows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from tests.deploy.asking import ask
from tests.deploy.files import load_json, load_yaml
from tests.support.metrics import Scrape
from tests.support.system import System

_NAME = re.compile(r"\bbreezeway_\w+")
_SUFFIX = re.compile(r"_(?:bucket|sum|count)$")


def _dashboard() -> list[str]:
    panels = load_json("grafana/breezeway.json")["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def _rules() -> list[Any]:
    return [rule for group in load_yaml("prometheus/alerts.yml")["groups"] for rule in group["rules"]]


EXPRESSIONS = [*_dashboard(), *(rule["expr"] for rule in _rules())]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `/metrics` says after one run."""
    with System.serving(tmp_path_factory.mktemp("metrics")) as system:
        body = {"model": "demo", "messages": [{"role": "user", "content": "What is 6 * 7?"}], "stream": True}
        assert "42" in ask(f"{system.url}/v1/chat/completions", body=body)
        yield ask(f"{system.url}/metrics")


def _described(text: str) -> dict[str, str]:
    """The type of every metric that is described, also of those that have no series yet."""
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_prometheus_understands_an_expression(expression: str) -> None:
    promql_parser.parse(expression.replace("$__rate_interval", "1m"))


def test_nothing_is_asked_for_that_is_not_there(scraped: str) -> None:
    described = _described(scraped)
    for expression in EXPRESSIONS:
        for name in _NAME.findall(expression):
            assert described.get(name) or described.get(_SUFFIX.sub("", name)) == "histogram", name


def test_everything_that_is_there_is_shown() -> None:
    asked = {_SUFFIX.sub("", name) for expression in _dashboard() for name in _NAME.findall(expression)}
    assert asked == {
        *("breezeway_runs_total", "breezeway_runs_active", "breezeway_run_seconds"),
        *("breezeway_time_to_first_token_seconds", "breezeway_model_calls_total", "breezeway_tokens_total"),
        *("breezeway_events_total", "breezeway_events_lost_total", "breezeway_commits_total"),
        *("breezeway_commit_seconds", "breezeway_commit_events", "breezeway_log_pending_bytes", "breezeway_readers"),
        *("breezeway_reader_lag_events", "breezeway_store_errors_total", "breezeway_rejected_total"),
        *("breezeway_jobs_fired_total", "breezeway_server_draining", "breezeway_build_info"),
        *("breezeway_http_requests_total", "breezeway_http_request_seconds", "breezeway_http_streams"),
        *("breezeway_http_stream_seconds", "breezeway_backend_reconnects_total", "breezeway_backend_up"),
    }


def test_labels_that_are_asked_for_are_there(scraped: str) -> None:
    scrape = Scrape(scraped)
    assert scrape("breezeway_runs_total", agent="demo", state="completed") == 1
    assert "failed" in scrape.labels("breezeway_runs_total", "state")
    assert {"refused", "missed"} <= scrape.labels("breezeway_jobs_fired_total", "outcome")
    assert "200" in scrape.labels("breezeway_http_requests_total", "status")


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in load_json("grafana/breezeway.json")["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells


def test_the_scraped_jobs_are_those_that_dashboard_and_alerts_know() -> None:
    paths = [Path("prometheus") / name for name in ("prometheus.yml", "scrape-kubernetes.yml")]
    jobs = {each["job_name"] for path in paths for each in load_yaml(str(path))["scrape_configs"]}
    assert jobs == {"breezeway", "breezeway-shim"}
