"""`breezeway doctor`: what it says of systems that are well and of every kind of fault, and that it changes nothing."""

import os
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from breezeway.v1 import key_pb2
from breezeway_server.cli.doctor.access import check_keys, check_secrets, check_tls
from breezeway_server.cli.doctor.agents import check_agents
from breezeway_server.cli.doctor.configuration import Setup
from breezeway_server.cli.doctor.data import check_directory
from breezeway_server.cli.doctor.finding import Finding, Level
from breezeway_server.cli.doctor.machine import check_clock, check_files
from breezeway_server.cli.doctor.store import Stored, check_store
from breezeway_server.config import load_settings
from breezeway_server.profiles.secrets import SecretBox
from breezeway_server.store.base import StoredKey, StoredProfile
from breezeway_shim.config import ShimSettings
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.server.agents.remote.examples import example
from tests.server.cli.commands import piped
from tests.support.mcp_servers import stdio_table
from tests.support.patience import PATIENCE
from tests.support.server import DATABASE, opened
from tests.support.system import System

KEY = "sk-upstream-0123456789"


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[System]:
    """A system that is not started, on ports that are free."""
    system = System(tmp_path, environ={"OPENAI_API_KEY": ""})
    yield system
    system.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System.serving(tmp_path_factory.mktemp("doctor")) as system:
        yield system


class _Provider(BaseHTTPRequestHandler):
    """A model's provider: has one model, for who has the key."""

    def do_GET(self) -> None:
        status = 200 if self.headers["Authorization"] == f"Bearer {KEY}" else 401
        status = status if self.path == "/v1/models" else 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "small"}]}' if status == 200 else f"no {KEY}".encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Provider) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def examined(environ: Mapping[str, str], *arguments: str) -> tuple[int, list[Finding]]:
    """Exit status and findings."""
    done = piped(environ, "doctor", "--json", *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [msgspec.json.decode(line, type=Finding) for line in done.stdout.splitlines()]


def of(findings: list[Finding], check: str) -> list[tuple[Level, str]]:
    return [(finding.level, f"{finding.message} {finding.advice}") for finding in findings if finding.check == check]


def configured(system: System, config: str) -> dict[str, str]:
    path = system.directory / "breezeway.toml"
    path.write_text(config, encoding="utf-8")
    return {**system.environ, "BREEZEWAY_CONFIG": str(path)}


def test_before_the_first_start_all_is_well_and_nothing_is_made(idle: System) -> None:
    status, findings = examined(idle.environ)
    assert status == 0, findings
    assert "is free" in of(findings, "HTTP port")[0][1]
    assert "is free" in of(findings, "gRPC port")[0][1]
    assert "None runs here" in of(findings, "server")[0][1]
    assert not (idle.directory / "data").exists()


def test_a_system_that_runs_is_found_well(running: System) -> None:
    status, findings = examined(running.environ)
    assert status == 0, findings
    assert {finding.level for finding in findings} <= {Level.OK, Level.WARN}
    assert any("A server has it" in said for _, said in of(findings, "data directory"))
    assert of(findings, "shim") == [(Level.OK, "It answers, and so does its server. ")]
    assert any("Agents for this caller: demo" in said for _, said in of(findings, "server"))


def test_people_get_a_line_a_finding_and_a_sum(running: System) -> None:
    done = piped(running.environ, "doctor")
    *lines, last = done.stdout.splitlines()
    assert all(line.startswith(("ok   ", "warn ", "fail ")) for line in lines)
    assert (
        last == f"{sum(line.startswith('ok') for line in lines)} ok, {len(lines) - int(last.split()[0])} warn, 0 fail"
    )


def test_a_store_that_nobody_has_open_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    with System.serving(tmp_path) as system:
        system.terminate()
        before = {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in (tmp_path / "data").iterdir()}
        status, findings = examined(system.environ)
    after = {file.name: (file.stat().st_mtime_ns, file.stat().st_size) for file in (tmp_path / "data").iterdir()}
    assert status == 0, findings
    assert (Level.OK, "It is whole. ") in of(findings, "store")
    assert after == before


def test_every_fault_of_file_and_environment_is_named(idle: System) -> None:
    environ = configured(idle, "[server]\nmax_runs = 0\n[shim]\nkeepalive_seconds = 'many'\nbogus = 1\n")
    status, findings = examined({**environ, "BREEZEWAY_DRAIN_SECONDS": "-1", "BREEZEWAY_MAX_RNUS": "1"})
    said = "\n".join(words for _, words in of(findings, "configuration"))
    assert status == 1
    for place in ("server.max_runs", "shim.keepalive_seconds", "shim.bogus", "BREEZEWAY_DRAIN_SECONDS", "MAX_RNUS"):
        assert place in said
    assert str(idle.directory / "breezeway.toml") in said


def test_a_file_that_is_not_there_is_said(idle: System) -> None:
    status, findings = examined(idle.environ, "--config", str(idle.directory / "gone.toml"))
    assert (status, "gone.toml" in of(findings, "configuration")[0][1]) == (1, True)


def test_ports_that_something_else_holds_are_failures(idle: System) -> None:
    with ExitStack() as exits:
        addresses = {}
        for name in ("HTTP", "gRPC", "metrics"):
            # It takes connections and says nothing: nobody is waited for without end.
            taken = exits.enter_context(socket.create_server(("127.0.0.1", 0)))
            addresses[name] = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = {f"BREEZEWAY_{name.upper()}_LISTEN": address for name, address in addresses.items()}
        status, findings = examined({**idle.environ, **listen})
    assert status == 1
    for name, address in addresses.items():
        ((level, said),) = of(findings, f"{name} port")
        assert (level, f"{address} is held by something" in said) == (Level.FAIL, True), said


def test_an_open_address_without_a_key_is_a_failure(idle: System) -> None:
    address = f"0.0.0.0:{idle.http_port}"
    status, findings = examined({**idle.environ, "BREEZEWAY_HTTP_LISTEN": address})
    assert (status, of(findings, "exposure")[0][0]) == (1, Level.FAIL)
    keyed = {**idle.environ, "BREEZEWAY_HTTP_LISTEN": address, "BREEZEWAY_API_KEYS": "0f1e2d3c4b5a69788796"}
    status, findings = examined(keyed)
    ((level, said),) = of(findings, "exposure")
    assert (status, level) == (0, Level.WARN)
    assert "BREEZEWAY_HTTP_TLS_CERT" in said


def test_upstreams_are_asked_for_key_and_model(idle: System, provider: str) -> None:
    table = '[agents.{}]\nkind = "llm"\nmodel = "{}"\nbase_url = "{}"\napi_key_env = "{}"\n'
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    config = "".join(
        table.format(*row)
        for row in (
            ("good", "small", f"{provider}/v1", "GOOD_KEY"),
            ("unknown", "large", f"{provider}/v1", "GOOD_KEY"),
            ("refused", "small", f"{provider}/v1", "OTHER_KEY"),
            ("lost", "small", f"{provider}/v2", "GOOD_KEY"),
            ("away", "small", nowhere, "GOOD_KEY"),
            ("keyless", "small", f"{provider}/v1", "NO_KEY"),
        )
    )
    environ = {**configured(idle, config), "GOOD_KEY": KEY, "OTHER_KEY": "sk-other"}
    status, findings = examined(environ)
    assert status == 1
    expected = {
        "good": (Level.OK, "knows small, and takes the key"),
        "unknown": (Level.WARN, "does not list large among its 1 models"),
        "refused": (Level.FAIL, "Correct OTHER_KEY"),
        "lost": (Level.WARN, "Correct base_url"),
        "away": (Level.FAIL, "cannot be reached"),
        "keyless": (Level.FAIL, "NO_KEY is not set"),
    }
    for name, (level, words) in expected.items():
        ((found, said),) = of(findings, f"agent {name}")
        assert (found, words in said) == (level, True), said
        assert KEY not in said


def test_code_and_remote_agents_are_tried(idle: System) -> None:
    (idle.directory / "mine.py").write_text("async def talk(context):\n    yield 'hi'\n", encoding="utf-8")
    with example("python") as (address, _):
        config = (
            '[agents.mine]\nkind = "python"\npath = "mine:talk"\n'
            '[agents.gone]\nkind = "python"\npath = "mine:nobody"\n'
            f'[agents.there]\nkind = "grpc"\nendpoints = ["{address}", "unix:{idle.directory}/none.sock"]\n'
            f'[agents.away]\nkind = "grpc"\nendpoints = ["unix:{idle.directory}/none.sock"]\n'
        )
        status, findings = examined(configured(idle, config))
    assert status == 1
    assert of(findings, "agent mine") == [(Level.OK, "mine:talk was imported. ")]
    assert of(findings, "agent gone")[0][0] is Level.FAIL
    assert {level for level, _ in of(findings, "agent there")} == {Level.OK, Level.WARN}
    assert {level for level, _ in of(findings, "agent away")} == {Level.FAIL}
    assert not (idle.directory / "__pycache__").exists()


def test_mcp_servers_are_begun_and_asked_for_their_tools(idle: System) -> None:
    table = stdio_table()
    config = (
        f'[mcp.there]\ncommand = "{table["command"]}"\nargs = {msgspec.json.encode(table["args"]).decode()}\n'
        f'cwd = "{table["cwd"]}"\nenv = {{ PYTHONPATH = "{os.pathsep.join(sys.path)}" }}\n'
        f"connect_timeout = {PATIENCE}\n"
        '[mcp.gone]\ncommand = "/no/such/program"\n'
        '[mcp.mute]\ncommand = "cat"\nconnect_timeout = 0.2\n'
    )
    status, findings = examined(configured(idle, config))
    assert status == 1
    ((level, said),) = of(findings, "MCP server there")
    assert (level, "tools: " in said) == (Level.OK, True), said
    assert "mcp.gone.command" in of(findings, "MCP server gone")[0][1]
    assert of(findings, "MCP server mute")[0][0] is Level.FAIL


def test_a_data_directory_that_cannot_be_one_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert check_directory(file)[0].level is Level.FAIL
    assert check_directory(file / "below")[0].level is Level.FAIL
    assert not (tmp_path / "new").exists()
    assert check_directory(tmp_path / "new" / "one")[0].level is Level.OK
    tmp_path.chmod(0o755)
    assert check_directory(tmp_path)[-1].level is Level.WARN


async def test_a_store_that_is_damaged_or_too_new_is_a_failure(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    assert {finding.level for finding in check_store(tmp_path)[1]} == {Level.OK}
    file = tmp_path / DATABASE
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert [finding.level for finding in check_store(tmp_path)[1]] == [Level.FAIL, Level.OK]
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    assert Level.FAIL in {finding.level for finding in check_store(tmp_path)[1]}
    file.write_bytes(b"this is no database, and never was one" * 100)
    assert {finding.level for finding in check_store(tmp_path)[1]} == {Level.FAIL}


def test_keys_that_are_all_gone_are_a_warning() -> None:
    settings = load_settings({}, {}, "test")
    good = StoredKey(key_pb2.Key(id="key_1"), b"")
    revoked = StoredKey(key_pb2.Key(id="key_2"), b"")
    revoked.key.revoke_time.GetCurrentTime()
    assert check_keys(settings, Stored())[0].level is Level.OK
    assert check_keys(settings, Stored(keys=[good, revoked]))[0].message == "1 are good, of 2."
    assert check_keys(settings, Stored(keys=[revoked]))[0].level is Level.WARN


def test_secrets_that_cannot_be_opened_are_a_failure() -> None:
    ours, others = "ours" * 8, "others" * 8
    profile = StoredProfile(
        name="helper",
        config={},
        secret_keys=("api_key",),
        secrets=SecretBox(ours).close("helper", {"api_key": KEY}),
        create_time_ns=0,
        update_time_ns=0,
    )
    for key, level in ((ours, Level.OK), (others, Level.FAIL), (None, Level.FAIL)):
        settings = load_settings({}, {"secret_key": key} if key else {}, "test")
        assert check_secrets(settings, Stored(profiles=[profile]))[0].level is level
    assert check_secrets(load_settings({}, {}, "test"), Stored())[0].level is Level.OK


async def test_agents_of_the_store_are_asked_too(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the check changes of its process is put back.
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    config = {"kind": "llm", "model": "small", "base_url": f"{provider}/v1"}
    profile = StoredProfile(
        name="helper",
        config=config,
        secret_keys=("api_key",),
        secrets=SecretBox("ours" * 8).close("helper", {"api_key": KEY}),
        create_time_ns=0,
        update_time_ns=0,
    )
    server = load_settings({}, {"secret_key": "ours" * 8}, "test")
    setup = Setup("test", tmp_path, {}, server, None)
    findings = await check_agents(setup, Stored(profiles=[profile]))
    ((level, said),) = of(findings, "agent helper")
    assert (level, "takes the key" in said) == (Level.OK, True)


def test_a_clock_that_cannot_be_right_is_a_warning() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert check_clock(Stored(), now=now).level is Level.OK
    assert check_clock(Stored(), now=0.0).level is Level.WARN
    assert check_clock(Stored(newest_run=now + 3600), now=now).level is Level.WARN


def test_too_few_files_for_the_streams_is_a_warning() -> None:
    assert check_files(load_settings({}, {"max_runs": 1}, "test")).level is Level.OK
    assert check_files(load_settings({}, {"max_runs": 2**40}, "test")).level is Level.WARN


@pytest.mark.parametrize(("days", "level"), [(-1, Level.FAIL), (3, Level.WARN), (300, Level.OK)])
def test_certificates_are_told_by_their_end(tmp_path: Path, days: int, level: Level) -> None:
    cert, key = _certificate(tmp_path, datetime.now(UTC) + timedelta(days=days))
    server = load_settings({}, {"grpc_tls_cert": cert, "grpc_tls_key": key}, "test")
    (finding,) = check_tls(server, ShimSettings())
    assert finding.level is level


def _certificate(folder: Path, until: datetime) -> tuple[Path, Path]:
    private = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(until - timedelta(days=400))
        .not_valid_after(until)
        .sign(private, SHA256())
    )
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, key
