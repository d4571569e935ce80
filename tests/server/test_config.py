"""Settings: flags before the environment before the file, and faults that name their place."""

from pathlib import Path
from typing import Any

import pytest
from breezeway_server.agents.errors import ConfigError
from breezeway_server.config import ServerSettings, load_settings
from breezeway_server.engine.quota import Rates

FILE = "breezeway.toml"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServerSettings.model_fields:
        monkeypatch.delenv(f"BREEZEWAY_{name.upper()}", raising=False)


def test_flags_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"max_runs": 1, "max_attempts": 1, "drain_seconds": 1}
    monkeypatch.setenv("BREEZEWAY_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("BREEZEWAY_DRAIN_SECONDS", "2")
    settings = load_settings(table, {"drain_seconds": 3}, FILE)
    assert (settings.max_runs, settings.max_attempts, settings.drain_seconds) == (1, 2, 3)


def test_without_anything_it_serves_on_loopback_and_stores_in_the_users_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = load_settings({}, {}, FILE)
    assert settings.grpc_listen == "127.0.0.1:50051"
    assert settings.data_dir == tmp_path / "breezeway"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings({}, {}, FILE).data_dir == tmp_path / ".local" / "share" / "breezeway"


def test_all_faults_are_named_at_once_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEZEWAY_DRAIN_SECONDS", "soon")
    with pytest.raises(ConfigError) as caught:
        load_settings({"max_rums": 1, "max_runs": 0}, {"grpc_listen": "nonsense"}, FILE)
    places = [line.split(": ")[:-1] for line in str(caught.value).splitlines()]
    assert sorted(places) == [
        ["--grpc-listen"],
        ["BREEZEWAY_DRAIN_SECONDS"],
        [FILE, "server.max_rums"],
        [FILE, "server.max_runs"],
    ]
    assert "--grpc-listen: must be host:port." in str(caught.value)


def test_a_key_that_is_no_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"breezeway.toml: server.max_rums: is not a setting"):
        load_settings({"max_rums": 1}, {}, FILE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_runs", 0),
        ("max_runs", "many"),
        ("max_run_seconds", 0),
        ("max_output_bytes", 0),
        ("max_message_bytes", 0),
        ("max_attempts", 0),
        ("drain_seconds", -1),
        ("store_patience_seconds", -1),
        ("memory_run_seconds", -1),
        ("memory_run_bytes", -1),
        ("log_retention_seconds", -1),
        ("request_id_retention_seconds", -1),
        ("synchronous", "OFF"),
        ("log_format", "xml"),
        ("grpc_listen", "localhost"),
    ],
)
def test_a_value_that_cannot_be_names_where_it_is_from(monkeypatch: pytest.MonkeyPatch, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^breezeway.toml: server.{key}: "):
        load_settings({key: value}, {}, FILE)
    monkeypatch.setenv(f"BREEZEWAY_{key.upper()}", str(value))
    with pytest.raises(ConfigError, match=f"^BREEZEWAY_{key.upper()}: "):
        load_settings({}, {}, FILE)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings({"max_runs": 0, "max_attempts": 0}, {}, FILE)
    assert len(str(raised.value).splitlines()) == 2


def test_the_engine_keeps_to_the_settings() -> None:
    limits = load_settings({"max_runs": 7, "log_retention_seconds": 8, "max_run_seconds": 9}, {}, FILE).limits()
    assert (limits.max_runs, limits.log_seconds, limits.run_seconds) == (7, 8, 9)
    limits = load_settings({"max_queued_runs": 7, "max_run_tokens": 8}, {}, FILE).limits()
    assert (limits.queued_runs, limits.run_tokens) == (7, 8)


@pytest.mark.parametrize(
    ("table", "of_keys", "of_everybody"),
    [
        ({}, Rates(max_runs=1000, requests_per_minute=6000), Rates()),
        ({"key_max_runs": 0, "key_requests_per_minute": 0}, Rates(), Rates()),
        (
            {"key_max_runs": 3, "key_tokens_per_minute": 5},
            Rates(max_runs=3, requests_per_minute=6000, tokens_per_minute=5),
            Rates(max_runs=3, tokens_per_minute=5),
        ),
    ],
)
def test_without_keys_only_limits_that_are_set_hold(table: dict[str, int], of_keys: Rates, of_everybody: Rates) -> None:
    settings = load_settings(table, {}, FILE)
    assert (settings.key_rates(), settings.open_rates()) == (of_keys, of_everybody)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ServerSettings.model_fields.values())
