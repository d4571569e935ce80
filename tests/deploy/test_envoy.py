"""The Envoy sample, run: gRPC and HTTP through one port with TLS, and what it must not repeat."""

import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError

import pytest
from breezeway.client import Client, Tls

from tests.deploy.files import DEPLOY, load_yaml
from tests.support.certificates import identity
from tests.support.system import Output, ReservedPort, System, wait_until_listened_on

_SAMPLE = DEPLOY / "envoy" / "envoy.yaml"


class Edge(NamedTuple):
    """Where Envoy listens, and whom to trust as it."""

    port: int
    ca: Path

    def open(self, path: str, body: bytes | None = None) -> Any:
        """The answer to a request."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}", body, {"Content-Type": "application/json"}
        )
        context = ssl.create_default_context(cafile=str(self.ca))
        return urllib.request.urlopen(request, timeout=30, context=context)  # noqa: S310 - ours


def _routes() -> list[Any]:
    (listener,) = load_yaml("envoy/envoy.yaml")["static_resources"]["listeners"]
    (filters,) = [chain["filters"] for chain in listener["filter_chains"]]
    (host,) = filters[0]["typed_config"]["route_config"]["virtual_hosts"]
    routes: list[Any] = host["routes"]
    return routes


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Envoy with the sample, whose files, names and ports are those of here, in front of a system."""
    directory = tmp_path_factory.mktemp("envoy")
    me = identity(directory, "edge")
    with System.serving(directory) as system, ReservedPort.reserved() as port, ReservedPort.reserved() as admin:
        text = _SAMPLE.read_text(encoding="utf-8")
        for there, here in {
            "/etc/envoy/tls/tls.crt": str(me.cert),
            "/etc/envoy/tls/tls.key": str(me.key),
            "address: 0.0.0.0, port_value: 8443": f"address: 127.0.0.1, port_value: {port.number}",
            "port_value: 9901": f"port_value: {admin.number}",
            "address: server, port_value: 50051": f"address: 127.0.0.1, port_value: {system.grpc_port}",
            "address: shim, port_value: 8642": f"address: 127.0.0.1, port_value: {system.http_port}",
        }.items():
            assert text.count(there) == 1
            text = text.replace(there, here)
        config = directory / "envoy.yaml"
        config.write_text(text, encoding="utf-8")
        program = Path(sys.executable).parent / "envoy"
        process = subprocess.Popen(
            [program, "-c", config, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "info"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        output = Output(process)
        try:
            # It takes nobody before every host has been asked for its health, and its worker runs.
            output.wait_for("starting workers")
            wait_until_listened_on(port.number, process)
            yield Edge(port.number, me.cert)
        finally:
            process.terminate()
            process.wait(30)
            output.close()


def test_a_stream_over_http_goes_through(edge: Edge) -> None:
    body = b'{"model": "demo", "stream": true, "messages": [{"role": "user", "content": "What is 6 * 7?"}]}'
    with edge.open("/v1/chat/completions", body) as answer:
        said = answer.read()
    assert b"42" in said
    assert said.endswith(b"data: [DONE]\n\n")


def test_grpc_goes_through_on_the_same_port(edge: Edge) -> None:
    with Client(f"localhost:{edge.port}", tls=Tls(ca=edge.ca)) as client:
        events = list(client.stream("demo", "What is 6 * 7?"))
        again = list(client.follow(events[0].run_id, after=3))
    assert "42" in "".join(event.text_delta.text for event in events)
    assert [event.sequence for event in again] == list(range(4, len(events) + 1))


def test_metrics_are_not_for_those_outside(edge: Edge) -> None:
    with pytest.raises(HTTPError) as refused:
        edge.open("/metrics")
    with refused.value as answer:
        assert answer.code == 404


def test_nothing_that_starts_a_run_is_repeated() -> None:
    repeated = {route["name"] for route in _routes() if "retry_policy" in route.get("route", {})}
    assert repeated == {"grpc_reads", "http_reads", "http_idempotent"}
    (reads,) = [route["match"]["safe_regex"]["regex"] for route in _routes() if route["name"] == "grpc_reads"]
    for call in ("RunService/CreateRun", "StreamService/StreamRun", "StreamService/MultiplexRuns", "JobService/RunJob"):
        assert re.fullmatch(reads, f"/breezeway.v1.{call}") is None
    for call in ("RunService/GetRun", "StreamService/FollowRun", "AgentRegistryService/ListAgents"):
        assert re.fullmatch(reads, f"/breezeway.v1.{call}")


def test_nothing_that_is_routed_has_a_time_limit() -> None:
    assert {route["route"]["timeout"] for route in _routes() if "route" in route} == {"0s"}
