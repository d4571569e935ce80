"""The systemd unit: accepted by systemd, tight, and with time to drain."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from breezeway_server.cli.supervise import BAD_CONFIGURATION
from breezeway_server.config import ServerSettings

from tests.deploy.files import DEPLOY

_UNIT = DEPLOY / "systemd" / "breezeway.service"
_LOOSEST = 2.0
"""Of systemd's ten; a unit that says nothing has 9.6."""


def _unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # the way the library is told to keep capitals
    parser.read(_UNIT, encoding="utf-8")
    return parser


def _analyze(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / _UNIT.name
    # It looks for the program, which is not installed here.
    text = _UNIT.read_text(encoding="utf-8").replace("/opt/breezeway/bin/breezeway", "/bin/true")
    unit.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", *arguments, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    done = _analyze(tmp_path, "verify")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_the_unit_tight(tmp_path: Path) -> None:
    done = _analyze(tmp_path, "security", "--offline=yes", "--no-pager")
    found = re.search(r"exposure level for breezeway.service: ([\d.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= _LOOSEST


def test_the_unit_gives_time_to_drain() -> None:
    service = _unit()["Service"]
    text = (DEPLOY / "systemd" / "breezeway.env").read_text(encoding="utf-8")
    drain = re.search(r"^BREEZEWAY_DRAIN_SECONDS=(\d+)$", text, re.MULTILINE)
    assert drain is not None
    assert float(drain[1]) == ServerSettings.model_fields["drain_seconds"].default
    assert float(service["TimeoutStopSec"]) >= float(drain[1]) + 25


def test_the_children_are_left_to_serve_and_bad_configuration_is_not_tried_again() -> None:
    service = _unit()["Service"]
    assert service["KillMode"] == "mixed"
    assert service["RestartPreventExitStatus"] == str(BAD_CONFIGURATION)
