"""TLS through the whole system: HTTP outside, and both sides known to each other between shim and server."""

import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.certificates import Identity, identity
from tests.support.environ import clean_environ
from tests.support.system import STOP_SECONDS, Output, ReservedPort, launch


@pytest.fixture
def server_identity(tmp_path: Path) -> Identity:
    return identity(tmp_path, "server")


@pytest.fixture
def shim_identity(tmp_path: Path) -> Identity:
    return identity(tmp_path, "shim")


@contextmanager
def launched(command: str, environ: Mapping[str, str], ready: str) -> Iterator[Output]:
    """`breezeway COMMAND`, from when it says that it is ready to the end of the block."""
    process = launch(command, environ={**clean_environ(), **environ})
    output = Output(process)
    try:
        output.wait_for(ready)
        yield output
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.close()


async def answer(port: int, trusted: Path) -> str:
    """What the demo says over HTTPS."""
    context = ssl.create_default_context(cafile=trusted)
    body = {"model": "demo", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
    async with aiohttp.ClientSession() as session:
        url = f"https://127.0.0.1:{port}/v1/chat/completions"
        async with session.post(url, json=body, ssl=context) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["choices"][0]["message"]["content"])


async def test_shim_and_server_know_each_other_and_http_is_https(
    tmp_path: Path, server_identity: Identity, shim_identity: Identity
) -> None:
    with ReservedPort.reserved() as grpc_port, ReservedPort.reserved() as http_port:
        server = {
            "BREEZEWAY_DATA_DIR": str(tmp_path / "data"),
            "BREEZEWAY_GRPC_LISTEN": f"127.0.0.1:{grpc_port.number}",
            "BREEZEWAY_GRPC_TLS_CERT": str(server_identity.cert),
            "BREEZEWAY_GRPC_TLS_KEY": str(server_identity.key),
            "BREEZEWAY_GRPC_TLS_CLIENT_CA": str(shim_identity.cert),
        }
        shim = {
            "BREEZEWAY_HTTP_LISTEN": f"127.0.0.1:{http_port.number}",
            "BREEZEWAY_GRPC_TARGET": f"127.0.0.1:{grpc_port.number}",
            "BREEZEWAY_GRPC_CA": str(server_identity.cert),
            "BREEZEWAY_GRPC_CERT": str(shim_identity.cert),
            "BREEZEWAY_GRPC_KEY": str(shim_identity.key),
            "BREEZEWAY_HTTP_TLS_CERT": str(shim_identity.cert),
            "BREEZEWAY_HTTP_TLS_KEY": str(shim_identity.key),
        }
        with launched("server", server, "serving"), launched("shim", shim, "listening"):
            assert "42" in await answer(http_port.number, shim_identity.cert)


async def test_serve_speaks_tls_on_both_ports(tmp_path: Path, server_identity: Identity) -> None:
    with ReservedPort.reserved() as grpc_port, ReservedPort.reserved() as http_port:
        environ = {
            "BREEZEWAY_DATA_DIR": str(tmp_path / "data"),
            "BREEZEWAY_GRPC_LISTEN": f"127.0.0.1:{grpc_port.number}",
            "BREEZEWAY_GRPC_TLS_CERT": str(server_identity.cert),
            "BREEZEWAY_GRPC_TLS_KEY": str(server_identity.key),
            "BREEZEWAY_HTTP_LISTEN": f"127.0.0.1:{http_port.number}",
            "BREEZEWAY_HTTP_TLS_CERT": str(server_identity.cert),
            "BREEZEWAY_HTTP_TLS_KEY": str(server_identity.key),
        }
        with launched("serve", environ, "Breezeway is ready.") as output:
            assert f"https://127.0.0.1:{http_port.number}" in output.text
            assert "42" in await answer(http_port.number, server_identity.cert)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BREEZEWAY_HTTP_TLS_CERT": "/no/cert.pem"}, "BREEZEWAY_HTTP_TLS_KEY: are needed both"),
        (
            {"BREEZEWAY_HTTP_TLS_CERT": "/no/cert.pem", "BREEZEWAY_HTTP_TLS_KEY": "/no/key.pem"},
            "BREEZEWAY_HTTP_TLS_CERT: /no/cert.pem and /no/key.pem cannot be used",
        ),
        ({"BREEZEWAY_GRPC_CA": "/no/ca.pem"}, "BREEZEWAY_GRPC_CA: /no/ca.pem cannot be read"),
        ({"BREEZEWAY_GRPC_CERT": "/no/cert.pem"}, "BREEZEWAY_GRPC_CERT and BREEZEWAY_GRPC_KEY: belong together"),
    ],
)
def test_a_shim_names_the_setting_that_does_not_fit(environ: dict[str, str], message: str) -> None:
    with launched("shim", environ, message):
        pass
