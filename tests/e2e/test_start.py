"""Starting: what is said when all is well, and when it cannot be."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.system import START_SECONDS, System, launch

BAD_CONFIGURATION = 2
CANNOT_LISTEN = 3


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[System]:
    """A system that is not started."""
    system = System(tmp_path)
    yield system
    system.close()


def _run(system: System, *arguments: str, **environ: str) -> tuple[int, str]:
    """Exit status and output of a `breezeway` that ends by itself."""
    process = launch(*arguments, environ=system.environ | environ)
    output, _ = process.communicate(timeout=START_SECONDS)
    return process.returncode, output


def test_the_banner_says_where_things_are(system: System) -> None:
    text = system.output.text
    assert f"{system.url}/v1" in text
    assert system.grpc_target in text
    assert "assistant" in text
    assert "curl -N" in text


def test_ctrl_c_stops_in_order_and_says_what_is_waited_for(idle: System) -> None:
    idle.start()
    assert idle.interrupt() == 0
    assert idle.output.text.count("Ctrl-C again stops at once") == 1
    assert "Traceback" not in idle.output.text


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        ("serve", "BREEZEWAY_HTTP_LISTEN"),
        ("serve", "BREEZEWAY_GRPC_LISTEN"),
        ("shim", "BREEZEWAY_HTTP_LISTEN"),
    ],
)
def test_a_port_in_use_is_said_and_ends_the_start(idle: System, command: str, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, output = _run(idle, command, **{variable: address})
    assert status == CANNOT_LISTEN
    assert f"Cannot listen on {address}" in output
    assert "in use" in output
    assert "Traceback" not in output
    assert "starting it again" not in output


def test_a_data_directory_in_use_is_said_and_ends_the_start(idle: System, system: System) -> None:
    status, output = _run(idle, "serve", BREEZEWAY_DATA_DIR=system.environ["BREEZEWAY_DATA_DIR"])
    assert status == CANNOT_LISTEN
    assert "in use by another Breezeway server" in output


def test_a_broken_file_ends_the_start_and_names_the_key(tmp_path: Path) -> None:
    system = System(tmp_path, config='[agents.a]\nkind = "llm"\nmodle = "x"')
    status, output = _run(system, "serve")
    system.close()
    assert status == BAD_CONFIGURATION
    assert "agents.a.modle" in output
    assert str(tmp_path / "breezeway.toml") in output
    assert "Traceback" not in output


@pytest.mark.parametrize("command", ["serve", "shim"])
def test_a_broken_table_of_the_shim_ends_the_start_and_names_every_key(tmp_path: Path, command: str) -> None:
    system = System(tmp_path, config='[shim]\nkeepalive_seconds = "many"\nbogus = 1')
    status, output = _run(system, command)
    system.close()
    assert status == BAD_CONFIGURATION
    file = str(tmp_path / "breezeway.toml")
    assert [line.startswith(file) for line in output.splitlines()] == [True, True], output
    assert "shim.keepalive_seconds" in output
    assert "shim.bogus: is not a setting" in output


def test_a_broken_variable_of_the_shim_is_named(idle: System) -> None:
    status, output = _run(idle, "shim", BREEZEWAY_KEEPALIVE_SECONDS="many")
    assert status == BAD_CONFIGURATION
    assert "BREEZEWAY_KEEPALIVE_SECONDS" in output
    assert "Traceback" not in output
