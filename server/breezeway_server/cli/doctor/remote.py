"""Remote agents: whether each of their endpoints is there and describes itself."""

import asyncio

import grpc
from google.protobuf.message import DecodeError

from breezeway_server.agents.remote.caller import PROTOCOL_VERSION
from breezeway_server.agents.remote.channel import OpenChannel, channel_opener
from breezeway_server.agents.remote.config import RemoteConfig
from breezeway_server.agents.remote.conformance.probe import Probe
from breezeway_server.agents.remote.endpoints import Endpoints, Unreachable
from breezeway_server.cli.doctor.finding import Finding, fail, ok, warn

_DESCRIBE_SECONDS = 10.0


async def check_remote(name: str, config: RemoteConfig) -> list[Finding]:
    """Ask every endpoint. An agent of which one answers works, and one of which none does not."""
    opener = channel_opener(
        config.tls,
        connect_timeout=config.connect_timeout,
        max_message_bytes=config.max_message_bytes,
        key=f"agents.{name}.tls",
    )
    check = f"agent {name}"
    faults = await asyncio.gather(*(_fault(address, opener, config.connect_timeout) for address in config.endpoints))
    pairs = list(zip(config.endpoints, faults, strict=True))
    bad = fail if all(faults) else warn
    advice = f"Start it, or correct agents.{name}.endpoints; `breezeway agent check` tells more."
    return [bad(check, f"{address} {fault}.", advice) for address, fault in pairs if fault] + [
        ok(check, f"{address} describes itself.") for address, fault in pairs if not fault
    ]


async def _fault(address: str, opener: OpenChannel, connect_timeout: float) -> str:
    """What is wrong with an endpoint; nothing where it is well."""
    endpoints = Endpoints([address], opener, connect_timeout=connect_timeout)
    try:
        probe = Probe(await endpoints.pick(), deadline=_DESCRIBE_SECONDS)
        described = await probe.describe()
    except Unreachable:
        return "cannot be reached"
    except grpc.aio.AioRpcError as error:
        return f"answers Describe with {error.code().name}"
    except DecodeError:
        return "answers Describe with something else"
    finally:
        await endpoints.close()
    if described.protocol_version > PROTOCOL_VERSION:
        return f"speaks version {described.protocol_version} of the protocol, which is newer than this Breezeway"
    return ""
