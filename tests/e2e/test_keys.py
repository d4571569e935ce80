"""Keys over the whole way: who may start what, who may call, and that tenants do not see each other over HTTP."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest

from tests.support.system import START_SECONDS, System, launch

BAD_CONFIGURATION = 2
KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
ASK = {"model": "demo", "input": "What is 6 * 7?"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System.serving(tmp_path_factory.mktemp("keys"), environ={"BREEZEWAY_API_KEYS": f"{KEY}, another"}) as system:
        yield system


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[System]:
    """A system that is not started."""
    system = System(tmp_path)
    yield system
    system.close()


def call(system: System, method: str, path: str, key: str = "", body: object = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    data = None if body is None else msgspec.json.encode(body)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{system.url}{path}", data, headers, method=method)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=START_SECONDS) as response:  # noqa: S310 - ours
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def keys(system: System, *arguments: str, api_key: str = "") -> tuple[int, list[str]]:
    """Exit status and lines of `breezeway keys`."""
    environ = {**system.environ, **({"BREEZEWAY_API_KEY": api_key} if api_key else {})}
    process = launch("keys", *arguments, environ=environ)
    output, _ = process.communicate(timeout=START_SECONDS)
    return process.returncode, output.splitlines()


def made(system: System, *arguments: str, api_key: str = "") -> str:
    """The secret of a new key."""
    status, lines = keys(system, "create", *arguments, api_key=api_key)
    assert status == 0, lines
    return next(line for line in lines if line.startswith("bz_"))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("POST", "/v1/responses", ASK),
        ("POST", "/v1/responses", {"nonsense": True}),
        ("POST", "/v1/chat/completions", [1]),
        ("GET", "/api/runs", None),
        ("POST", "/api/runs", {"nonsense": True}),
        ("GET", "/api/keys", None),
    ],
)
def test_a_stranger_is_told_that_they_are_one_whatever_they_send(
    guarded: System, method: str, path: str, body: object
) -> None:
    for key in ("", "not-a-key", KEY[:-1]):
        status, text = call(guarded, method, path, key, body)
        assert status == 401, text
        assert KEY not in text


def test_health_is_open(guarded: System) -> None:
    assert call(guarded, "GET", "/health")[0] == 200


def test_every_key_of_the_environment_is_good_under_every_name(guarded: System) -> None:
    for headers in ({"X-API-Key": KEY}, {"X-Session-API-Key": KEY}, {"Authorization": "Bearer another"}):
        assert call(guarded, "GET", "/v1/models", **headers)[0] == 200


def test_tenants_do_not_see_each_other(guarded: System) -> None:
    one = made(guarded, "--tenant", "one", api_key=KEY)
    two = made(guarded, "--tenant", "two", api_key=KEY)
    status, text = call(guarded, "POST", "/v1/responses", one, ASK)
    assert status == 200
    response_id = msgspec.json.decode(text)["id"]
    never = "resp_" + "0" * 32
    native, native_never = response_id.replace("resp_", "run_"), never.replace("resp_", "run_")
    for method, path, body in (
        ("GET", "/v1/responses/{}", None),
        ("DELETE", "/v1/responses/{}", None),
        ("POST", "/v1/responses/{}/cancel", None),
        ("GET", "/v1/responses/{}/input_items", None),
        ("GET", "/v1/responses/{}?stream=true", None),
        ("POST", "/v1/responses", {**ASK, "previous_response_id": "{}"}),
        ("GET", "/api/runs/{}", None),
        ("GET", "/api/runs/{}/events", None),
        ("POST", "/api/runs/{}:cancel", {}),
    ):
        answers = []
        for run_id in (native, native_never) if path.startswith("/api") else (response_id, never):
            sent = {**body, "previous_response_id": run_id} if body else body
            status, text = call(guarded, method, path.format(run_id), two, sent)
            assert status in {400, 404}, (method, path, text)
            answers.append((status, text.replace(run_id.partition("_")[2], "")))
        assert answers[0] == answers[1]
    assert call(guarded, "GET", f"/v1/responses/{response_id}", one)[0] == 200


def test_keys_are_changed_over_the_api_while_the_server_runs(guarded: System) -> None:
    status, lines = keys(guarded, "list")
    assert (status, len(lines)) == (1, 1)
    secret = made(guarded, "--name", "ci", "--scope", "read", "--expires", "30d", api_key=KEY)
    assert call(guarded, "GET", "/v1/models", secret)[0] == 200
    assert call(guarded, "POST", "/v1/responses", secret, ASK)[0] == 403
    key_id = f"key_{secret.split('_')[1]}"
    status, lines = keys(guarded, "rotate", key_id, api_key=KEY)
    assert call(guarded, "GET", "/v1/models", secret)[0] == 401
    renewed = next(line for line in lines if line.startswith("bz_"))
    assert call(guarded, "GET", "/v1/models", renewed)[0] == 200
    assert keys(guarded, "revoke", key_id, api_key=KEY)[0] == 0
    assert call(guarded, "GET", "/v1/models", renewed)[0] == 401
    assert any(key_id in line and "revoked" in line for line in keys(guarded, "list", api_key=KEY)[1])


def test_keys_that_were_made_before_the_start_are_asked_for(idle: System) -> None:
    secret = made(idle)
    idle.start()
    assert call(idle, "GET", "/v1/models")[0] == 401
    assert call(idle, "GET", "/v1/models", secret)[0] == 200


def test_without_keys_only_what_is_meant_for_this_machine_is_answered(system: System) -> None:
    connection = HTTPConnection("127.0.0.1", system.http_port, timeout=START_SECONDS)
    connection.request("GET", "/v1/models", headers={"Host": "rebound.example"})
    response = connection.getresponse()
    assert response.status == 403
    assert b"caller_not_local" in response.read()
    connection.close()


@pytest.mark.parametrize(
    ("variable", "listen"), [("BREEZEWAY_HTTP_LISTEN", "0.0.0.0:{}"), ("BREEZEWAY_GRPC_LISTEN", "[::]:{}")]
)
def test_nothing_is_opened_to_others_without_a_key(idle: System, variable: str, listen: str) -> None:
    address = listen.format(_free_port())
    process = launch("serve", environ={**idle.environ, variable: address})
    output, _ = process.communicate(timeout=START_SECONDS)
    assert process.returncode == BAD_CONFIGURATION, output
    assert f"Not listening on {address}" in output
    assert "127.0.0.1" in output
    assert "Traceback" not in output


def test_a_good_key_opens_the_server_to_others(idle: System) -> None:
    idle.environ["BREEZEWAY_API_KEYS"] = KEY
    idle.environ["BREEZEWAY_HTTP_LISTEN"] = f"0.0.0.0:{idle.http_port}"
    idle.start()
    assert call(idle, "GET", "/v1/models", KEY, Host="anything.example")[0] == 200
    assert call(idle, "GET", "/v1/models", Host="127.0.0.1")[0] == 401


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
