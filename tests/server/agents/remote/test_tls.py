"""TLS to remote agents, with both sides proving who they are."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway_server.agents.base import AgentError
from breezeway_server.agents.errors import ConfigError

from tests.server.agents.conftest import built
from tests.server.agents.remote import fake
from tests.server.agents.remote.fake import FakeAgent, text
from tests.support.agents import FakeRun
from tests.support.patience import PATIENCE

_HELLO = fake.saying(fake.steps(text("hello")))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and cert.pem, signed by itself, for a host called agent.test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=agent.test", "-addext", "subjectAltName=DNS:agent.test"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def _server(folder: Path) -> grpc.ServerCredentials:
    key, cert = (folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes()
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=cert, require_client_auth=True)


def _table(address: str, **tls: Any) -> dict[str, Any]:
    return {"kind": "grpc", "endpoints": [address], "retries": 0, "connect_timeout": PATIENCE, "tls": tls}


async def test_both_sides_know_each_other(certificate: Path) -> None:
    cert, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    async with FakeAgent.serving(_HELLO, credentials=_server(certificate)) as agent:
        tls = {"ca": cert, "cert": cert, "key": key, "server_name": "agent.test"}
        async with built(_table(agent.address, **tls)) as helper:
            assert (await FakeRun.asking("hello").work(helper)).text == "hello"


@pytest.mark.parametrize("name", ["someone.else", None])
async def test_a_stranger_is_not_called(certificate: Path, name: str | None) -> None:
    cert, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    async with FakeAgent.serving(_HELLO, credentials=_server(certificate)) as agent:
        tls = {"ca": cert, "cert": cert, "key": key, **({"server_name": name} if name else {})}
        async with built(_table(agent.address, **tls)) as helper:
            with pytest.raises(AgentError) as caught:
                await FakeRun.asking("hello").work(helper)
    assert caught.value.error.reason == "AGENT_UNAVAILABLE"
    assert agent.requests == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (_table("localhost:1", ca="/no/such/file"), "agents.helper.tls.ca: /no/such/file cannot be read"),
        (_table("localhost:1", cert="a.pem"), "agents.helper.tls: cert and key belong together"),
        (_table("localhost:1", colour="red"), "agents.helper.tls.colour: "),
        (_table("localhost"), "agents.helper.endpoints[0]: is no address"),
        ({"kind": "grpc", "endpoints": []}, "agents.helper.endpoints: "),
        ({"kind": "grpc"}, "agents.helper.endpoints: is missing"),
        ({"kind": "grpc", "endpoints": ["a:1"], "retries": 99}, "agents.helper.retries: "),
    ],
)
async def test_a_broken_table_names_the_key(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        async with built(table):
            pass
    assert message in str(caught.value)
