"""The ports, and whoever answers on them: free, or held by a Breezeway that is well."""

import errno
from importlib.metadata import version

import aiohttp
import grpc
import msgspec
from breezeway.client import BreezewayError, Tls
from breezeway.client.errors import error_of
from breezeway.v1 import run_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest
from breezeway.v1.agent_registry_service_pb2_grpc import AgentRegistryServiceStub
from breezeway_shim.config import ShimSettings
from grpc_health.v1 import health_pb2

from breezeway_server.cli.connection import Connection, callable_address
from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn
from breezeway_server.cli.listening import listening_fault
from breezeway_server.config import ServerSettings

# Of a machine that may be busy: what is slow is well.
_SECONDS = 10.0
_RUNS = run_service_pb2.DESCRIPTOR.services_by_name["RunService"].full_name
_MAX_ANSWER = 1024 * 1024


class _Index(msgspec.Struct):
    """What a shim says at `GET /`."""

    name: str
    version: str


async def check_http(shim: ShimSettings) -> list[Finding]:
    """Whether the HTTP port is free, or a shim answers there."""
    listen = shim.http_listen
    taken, findings = _port("HTTP port", "BREEZEWAY_HTTP_LISTEN", listen)
    if not taken:
        return findings
    url = f"{'https' if shim.http_tls_cert else 'http'}://{callable_address(listen)}"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session:
            # This machine is asked, whose certificate is made out to whatever name its callers know.
            async with session.get(f"{url}/", headers={"Accept": "application/json"}, ssl=False) as response:
                index = msgspec.json.decode(await response.content.read(_MAX_ANSWER), type=_Index)
            async with session.get(f"{url}/health", ssl=False) as response:
                well = response.status == 200
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
        return [_other("HTTP port", listen, "BREEZEWAY_HTTP_LISTEN")]
    if index.name != "breezeway":
        return [_other("HTTP port", listen, "BREEZEWAY_HTTP_LISTEN")]
    findings = [ok("HTTP port", f"{listen} is held by Breezeway {index.version}.")]
    if index.version != version("breezeway"):
        said = f"The shim that runs is {index.version}, and this command {version('breezeway')}."
        findings.append(warn("shim", said, "Start it again, so that it runs what is installed."))
    if well:
        findings.append(ok("shim", "It answers, and so does its server."))
    else:
        findings.append(fail("shim", "It answers, and its server does not.", "See the server's log."))
    return findings


def check_metrics(server: ServerSettings, *, in_use: bool) -> list[Finding]:
    """Whether the metrics port, where there is to be one, is free or the server's own; `in_use` as in `check_grpc`."""
    check, listen, setting = "metrics port", server.metrics_listen, "BREEZEWAY_METRICS_LISTEN"
    if listen is None:
        return []
    taken, findings = _port(check, setting, listen)
    if not taken:
        return findings
    return [ok(check, f"{listen} is held, as it should be by a server.") if in_use else _other(check, listen, setting)]


async def check_grpc(server: ServerSettings, connection: Connection, *, in_use: bool) -> list[Finding]:
    """Whether the gRPC port is free, or a server answers there; and the server that `connection` chose, if another.

    `in_use` says that a server has the data directory.
    """
    listen = server.grpc_listen
    taken, findings = _port("gRPC port", "BREEZEWAY_GRPC_LISTEN", listen)
    if connection.chosen:
        return findings + await _server(connection)
    if not taken:
        if in_use:
            said = f"A server has the data directory, and does not listen on {listen}."
            findings.append(warn("server", said, "Name it with --server to have it checked."))
        elif not any(finding.level == "fail" for finding in findings):
            findings.append(ok("server", "None runs here; start one with `breezeway serve`."))
        return findings
    tls = connection.tls or (Tls(ca=server.grpc_tls_cert) if server.grpc_tls_cert else None)
    here = Connection(callable_address(listen), connection.api_key, tls)
    found = await _server(here)
    if found[0].level == "fail" and not in_use:
        return [_other("gRPC port", listen, "BREEZEWAY_GRPC_LISTEN")]
    return [ok("gRPC port", f"{listen} is held by a server."), *found]


async def _server(connection: Connection) -> list[Finding]:
    check = "server"
    async with connection.async_channel() as channel:
        request = health_pb2.HealthCheckRequest(service=_RUNS)
        try:
            check_health = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            reply = await check_health(request, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            return [fail(check, connection.explain(error_of(error)))]
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            return [warn(check, f"The one at {connection.target} is stopping.", "Wait for it, or start it again.")]
        findings = [ok(check, f"The one at {connection.target} serves.")]
        try:
            agents = await AgentRegistryServiceStub(channel).ListAgents(
                ListAgentsRequest(page_size=1000), metadata=connection.metadata, timeout=_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            return [*findings, _refused(error_of(error))]
        names = ", ".join(agent.name for agent in agents.agents) or "none"
        return [*findings, ok(check, f"Agents for this caller: {names}.")]


def _refused(error: BreezewayError) -> Finding:
    if error.reason == "KEY_MISSING":
        return warn("server", "It asks for a key, and none was shown.", "Set BREEZEWAY_API_KEY to have more checked.")
    return fail("server", f"It refuses this caller: {error.message}", "Correct BREEZEWAY_API_KEY.")


def _port(check: str, setting: str, listen: str) -> tuple[bool, list[Finding]]:
    """Whether somebody listens there; what there is to say where nobody does."""
    fault = listening_fault(listen)
    if fault is None:
        return False, [ok(check, f"{listen} is free.")]
    if fault.errno == errno.EADDRINUSE:
        return True, []
    return False, [fail(check, f"{listen} cannot be listened on: {fault.strerror}.", f"Correct {setting}.")]


def _other(check: str, listen: str, setting: str) -> Finding:
    said = f"{listen} is held by something that is no Breezeway, or does not answer."
    return fail(check, said, f"Stop it, or choose another {setting}.")
