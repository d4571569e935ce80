"""The compose file: Breezeway starts with what it says, and Open WebUI finds it with what it is told."""

import re
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.deploy.asking import ask
from tests.deploy.files import DEPLOY, load_yaml
from tests.support.system import System

_GIVEN = {"BREEZEWAY_API_KEY": "0f9c2d7be1a84c6f93b5d1e2a7c80b64", "WEBUI_SECRET_KEY": "b1946ac92492d2347c6235b4d261"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def _filled_in(text: str) -> str:
    """The text as compose interpolates it where the environment has nothing but `_GIVEN`."""

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        assert operator != "?" or name in _GIVEN
        return _GIVEN.get(name) or (rest if operator == "-" else "")

    return _VARIABLE.sub(value, text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = load_yaml("compose/open-webui.yaml")["services"]
    return found


def _environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: _filled_in(value) for name, value in service["environment"].items()}


def test_breezeway_starts_with_what_it_is_told_and_lets_open_webui_alone_in(
    services: dict[str, Any], tmp_path: Path
) -> None:
    system = System(tmp_path)
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    listen = re.search(r"BREEZEWAY_HTTP_LISTEN=(.+):8642 ", dockerfile)
    assert listen is not None
    # Ports and paths are those of the container; all else is taken as it stands.
    here = {
        "BREEZEWAY_HTTP_LISTEN": f"{listen[1]}:{system.http_port}",
        "BREEZEWAY_GRPC_LISTEN": system.grpc_target,
        "BREEZEWAY_CONFIG": str(DEPLOY / "compose" / "breezeway.toml"),
    }
    told = _environment(services["breezeway"])
    assert told.keys() >= here.keys() - {"BREEZEWAY_HTTP_LISTEN"}
    system.environ |= {**told, **here}
    try:
        system.start()
        key = _environment(services["open-webui"])["OPENAI_API_KEY"]
        url = f"{system.url}/v1/models"
        assert '"demo"' in ask(url, key=key)
        with pytest.raises(HTTPError) as refused:
            ask(url)
        with refused.value as answer:
            assert answer.code == 401
    finally:
        system.close()


def test_open_webui_looks_where_breezeway_is(services: dict[str, Any]) -> None:
    told = _environment(services["open-webui"])
    assert told["OPENAI_API_BASE_URL"] == "http://breezeway:8642/v1"
    assert services["open-webui"]["depends_on"]["breezeway"]["condition"] == "service_healthy"


def test_ports_are_open_to_this_machine_alone(services: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])


def test_there_is_time_to_drain(services: dict[str, Any]) -> None:
    breezeway = services["breezeway"]
    drain = float(breezeway["environment"]["BREEZEWAY_DRAIN_SECONDS"])
    assert float(breezeway["stop_grace_period"].removesuffix("s")) >= drain + 25


def test_the_sample_environment_names_every_variable(services: dict[str, Any]) -> None:
    text = (DEPLOY / "compose" / "open-webui.yaml").read_text(encoding="utf-8")
    sample = (DEPLOY / "compose" / "env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=", sample, re.MULTILINE)) == {found[0] for found in _VARIABLE.findall(text)}
