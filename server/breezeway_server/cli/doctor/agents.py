"""The agents: each is built, and what it needs is asked whether it is there."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime

from breezeway_server.agents.build import AgentBuilder
from breezeway_server.agents.config import AgentConfig, DemoConfig, GrpcConfig, LlmConfig, PythonConfig, agent_configs
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.mcp.config import mcp_configs
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.cli.doctor.configuration import Setup
from breezeway_server.cli.doctor.finding import Finding, fail, ok
from breezeway_server.cli.doctor.remote import check_remote
from breezeway_server.cli.doctor.store import Stored
from breezeway_server.cli.doctor.upstream import check_upstream
from breezeway_server.config import ServerSettings
from breezeway_server.errors import BreezewayError
from breezeway_server.profiles import checking
from breezeway_server.profiles.secrets import SecretBox, SecretsLost

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def check_agents(setup: Setup, stored: Stored) -> list[Finding]:
    """What is there to say about each agent and each MCP server, those of the store included."""
    document = setup.document or {}
    findings: list[Finding] = []
    # As the server does: Python agents and tools are looked for beside the file. Importing leaves no files behind.
    sys.path.insert(0, str(setup.folder))
    sys.dont_write_bytecode = True
    try:
        configs = agent_configs(document, os.environ, source=setup.source)
        builder = AgentBuilder(document, os.environ)
    except ConfigError as error:
        return [fail("agents", line) for line in str(error).splitlines()]
    profiles, faults = _profiles(setup.server, stored)
    findings += faults
    registry = AgentRegistry([], shared=builder.shared)
    checks: list[Coroutine[None, None, list[Finding]]] = []
    try:
        for name, config in {**profiles, **configs}.items():
            try:
                registry.put(builder.build(name, config, _EPOCH))
            except ConfigError as error:
                findings += [fail(f"agent {name}", line) for line in str(error).splitlines()]
            else:
                checks.append(_check(name, config))
        checks += _mcp_checks(setup)
        for found in await asyncio.gather(*checks):
            findings += found
        return findings
    finally:
        await registry.close()


def _profiles(server: ServerSettings | None, stored: Stored) -> tuple[dict[str, AgentConfig], list[Finding]]:
    """The agents that were made over the API; those whose secrets are lost are another check's."""
    key = server.secret_key if server is not None else None
    box = SecretBox(key.get_secret_value()) if key is not None else None
    configs: dict[str, AgentConfig] = {}
    faults: list[Finding] = []
    for profile in stored.profiles:
        try:
            secrets = box.open(profile.name, profile.secrets) if box and profile.secrets is not None else {}
            if profile.secrets is None or secrets:
                configs[profile.name] = checking.check_config({**profile.config, **secrets})
        except SecretsLost:
            continue
        except BreezewayError as error:
            faults.append(fail(f"agent {profile.name}", error.message, "Change it over the API."))
    return configs, faults


def _mcp_checks(setup: Setup) -> Iterator[Coroutine[None, None, list[Finding]]]:
    configs = mcp_configs(setup.document or {})
    if not configs:
        return
    # The package takes a second to load, which only those pay who have such servers.
    from breezeway_server.cli.doctor.mcp import check_mcp  # noqa: PLC0415 - see above

    for name, config in configs.items():
        yield check_mcp(name, config, os.environ)


async def _check(name: str, config: AgentConfig) -> list[Finding]:
    match config:
        case DemoConfig():
            return [ok(f"agent {name}", "It needs nothing.")]
        case PythonConfig():
            return [ok(f"agent {name}", f"{config.path} was imported.")]
        case GrpcConfig():
            return await check_remote(name, config)
        case LlmConfig():
            return await check_upstream(name, config, os.environ)
