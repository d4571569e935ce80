"""What `breezeway server` says of a configuration that it cannot use."""

import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import structlog
from breezeway_server.cli import main
from click.testing import CliRunner

BAD_CONFIGURATION = 2


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the command changes of its process is put back."""
    for name in [name for name in os.environ if name.startswith(("BREEZEWAY_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    structlog.reset_defaults()


def _fails(directory: Path, document: str) -> str:
    config = directory / "breezeway.toml"
    config.write_text(document, encoding="utf-8")
    data_dir = directory / "data"
    result = CliRunner().invoke(main, ["server", "--config", str(config), "--data-dir", str(data_dir)])
    assert result.exit_code == BAD_CONFIGURATION, result.output
    assert not data_dir.exists(), "nothing is written before everything is known to be right"
    return result.output


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ('[agents.a]\nkind = "llm"\nmodle = "x"', "agents.a.modle"),
        ('[agents.a]\nkind = "llm"', "agents.a.model"),
        ('[agents.a]\nkind = "robot"', "agents.a"),
        ('[agents.a]\nkind = "llm"\nmodel = "m"\nbase_url = "http://h/v1"\nretries = 99', "agents.a.retries"),
        ('[agents.a]\nkind = "llm"\nmodel = "m"\nbase_url = "ftp://h/v1"', "agents.a.base_url"),
        ('[agents.a]\nkind = "llm"\nmodel = "m"\nbase_url = "http://h/v1"\ntools = ["gone:f"]', "agents.a.tools"),
        ('[agents.a]\nkind = "llm"\nmodel = "m"', "agents.a.api_key_env"),
        ('[agents.a]\nkind = "python"\npath = "nowhere:nothing"', "agents.a.path"),
        ('[agents."A B"]\nkind = "demo"', "agents.A B"),
        ('[agents.a]\nkind = "demo"\npace = 99', "agents.a.pace"),
        ("[server]\nmax_runs = 0", "server.max_runs"),
        ("[server]\nmax_rnus = 1", "server.max_rnus"),
        ("[sever]\nmax_runs = 1", "sever"),
        ("agents = 7", "agents"),
        ("[agents", "is not TOML"),
    ],
)
def test_a_broken_file_names_file_and_key(tmp_path: Path, document: str, named: str) -> None:
    output = _fails(tmp_path, document)
    assert named in output
    assert str(tmp_path / "breezeway.toml") in output


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    output = _fails(tmp_path, '[agents.a]\nkind = "llm"\nmodle = "x"\n[agents.b]\nkind = "demo"\npace = -1')
    assert "agents.a.modle" in output
    assert "agents.b.pace" in output


def test_a_variable_is_named_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEZEWAY_MAX_RUNS", "many")
    assert "BREEZEWAY_MAX_RUNS" in _fails(tmp_path, "")


def test_a_broken_base_url_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "nonsense")
    assert "OPENAI_BASE_URL" in _fails(tmp_path, "")


@pytest.mark.parametrize("command", ["serve", "server", "shim"])
def test_a_missing_file_is_said(tmp_path: Path, command: str) -> None:
    missing = str(tmp_path / "missing.toml")
    result = CliRunner().invoke(main, [command, "--config", missing])
    assert (result.exit_code, missing in result.output) == (BAD_CONFIGURATION, True)


def test_serve_says_what_is_wrong_before_it_starts_anything(tmp_path: Path) -> None:
    config = tmp_path / "breezeway.toml"
    config.write_text("[server]\nmax_runs = 0", encoding="utf-8")
    result = CliRunner().invoke(main, ["serve", "--config", str(config)])
    assert (result.exit_code, "server.max_runs" in result.output) == (BAD_CONFIGURATION, True)


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(main, ["version"]).output == f"{version('breezeway')}\n"


def test_the_commands_are_listed() -> None:
    listing = CliRunner().invoke(main, ["--help"]).output
    assert all(f"\n  {command} " in listing for command in main.commands)
    assert set(main.commands) >= {"serve", "server", "shim", "chat", "runs", "keys", "agent", "doctor", "version"}


def test_no_key_is_quoted(tmp_path: Path) -> None:
    key = "sk-very-secret-0123456789"
    document = f'[agents.a]\nkind = "llm"\nmodel = "m"\nbase_url = "nonsense"\napi_key = "{key}"\nheaders = 7'
    assert key not in _fails(tmp_path, document)
