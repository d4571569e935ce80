"""The commands against a server with keys and TLS that asks for certificates, and over its restart."""

from collections.abc import Iterator

import pytest
from breezeway.client import Client, Tls
from breezeway.v1 import item_pb2

from tests.e2e.lone_server import LoneServer
from tests.server.cli.commands import piped
from tests.support.certificates import Identity, identity
from tests.support.system import START_SECONDS, Output, launch

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("mine"), "mine")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ours: Identity, mine: Identity) -> Iterator[LoneServer]:
    environ = {
        "BREEZEWAY_API_KEYS": KEY,
        "BREEZEWAY_GRPC_TLS_CERT": str(ours.cert),
        "BREEZEWAY_GRPC_TLS_KEY": str(ours.key),
        "BREEZEWAY_GRPC_TLS_CLIENT_CA": str(mine.cert),
    }
    with LoneServer.serving(tmp_path_factory.mktemp("secured"), config="", environ=environ) as server:
        yield server


@pytest.fixture(scope="module")
def environ(server: LoneServer, ours: Identity, mine: Identity) -> dict[str, str]:
    """All that a command needs to get in."""
    return {
        **server.environ,
        "BREEZEWAY_API_KEY": KEY,
        "BREEZEWAY_GRPC_CA": str(ours.cert),
        "BREEZEWAY_GRPC_CERT": str(mine.cert),
        "BREEZEWAY_GRPC_KEY": str(mine.key),
    }


@pytest.fixture(scope="module")
def client(server: LoneServer, ours: Identity, mine: Identity) -> Iterator[Client]:
    with Client(server.target, api_key=KEY, tls=Tls(ours.cert, mine.cert, mine.key)) as client:
        yield client


def test_every_command_gets_in_by_the_environment_alone(environ: dict[str, str]) -> None:
    chat = piped(environ, "chat", "--agent", "demo", text="What is 6 * 7?\n")
    assert (chat.returncode, "42" in chat.stdout) == (0, True), chat.stderr
    listing = piped(environ, "runs", "list")
    assert (listing.returncode, "completed" in listing.stdout) == (0, True), listing.stderr
    made = piped(environ, "keys", "create", "--name", "ci")
    assert (made.returncode, made.stdout.startswith("bz_")) == (0, True), made.stderr
    assert "ci" in piped(environ, "keys", "list").stdout
    doctor = piped(environ, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "Agents for this caller: demo" in doctor.stdout
    assert KEY not in doctor.stdout


def test_options_say_the_same(server: LoneServer, ours: Identity, mine: Identity) -> None:
    way = ["--server", server.target, "--ca", str(ours.cert), "--cert", str(mine.cert), "--cert-key", str(mine.key)]
    done = piped(server.environ, "runs", "list", *way, "--key", KEY, "--server-name", "localhost")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("BREEZEWAY_API_KEY", "Set BREEZEWAY_API_KEY."),
        ("BREEZEWAY_GRPC_CA", "No Breezeway server answers"),
        ("BREEZEWAY_GRPC_CERT", "--cert and --cert-key belong together"),
    ],
)
@pytest.mark.parametrize("command", [("runs", "list"), ("chat",), ("keys", "list")])
def test_what_is_missing_is_said(environ: dict[str, str], command: tuple[str, ...], without: str, said: str) -> None:
    left = {name: value for name, value in environ.items() if name != without}
    done = piped(left, *command)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_is_a_failure_for_the_doctor_and_none_a_warning(environ: dict[str, str]) -> None:
    wrong = piped({**environ, "BREEZEWAY_API_KEY": "wrong"}, "doctor")
    assert (wrong.returncode, "fail server: It refuses this caller" in wrong.stdout) == (1, True), wrong.stdout
    none = piped({name: value for name, value in environ.items() if name != "BREEZEWAY_API_KEY"}, "doctor")
    assert (none.returncode, "warn server: It asks for a key" in none.stdout) == (0, True), none.stdout


def test_following_goes_on_over_a_restart_of_the_server(
    server: LoneServer, environ: dict[str, str], client: Client
) -> None:
    run = client.create("demo", "approve: Greetings!")
    process = launch("runs", "follow", run.id, environ=environ)
    output = Output(process)
    output.wait_for("waits for an approval")
    server.kill()
    output.wait_for("The server is gone; waiting for it to come back.")
    server.start()
    # The first read finds the server again.
    client.get(run.id)
    client.resolve_approval(run.id, item_pb2.APPROVAL_DECISION_ONCE)
    assert process.wait(START_SECONDS) == 0
    output.close()
    assert output.text.count("waits for an approval") == 1
