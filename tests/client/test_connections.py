"""TLS between client and server, and connections that may not grow old."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway.client import AsyncClient, BreezewayError, Tls
from breezeway_server.agents.errors import ConfigError
from breezeway_server.agents.steps import TextDelta
from breezeway_server.config import load_settings
from breezeway_server.services.transport import Transport, transport_of

from tests.chaos.proxy import Proxy
from tests.client.host import Host
from tests.support.certificates import Identity, identity
from tests.support.patience import PATIENCE
from tests.support.server import PlainAgent, Script, ScriptedAgent, kinds, text_of_events, texts

PLAIN_AGENT = PlainAgent("plain", TextDelta("hello"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("theirs"), "theirs")


def transport(**settings: Any) -> Transport:
    return transport_of(load_settings({}, settings, "test"))


async def test_tls_is_spoken_with_those_who_trust_the_server(tmp_path: Path, ours: Identity, theirs: Identity) -> None:
    tls = transport(grpc_tls_cert=ours.cert, grpc_tls_key=ours.key)
    async with Host.serving(tmp_path, PLAIN_AGENT, transport=tls) as host:
        async with AsyncClient(host.target, tls=Tls(ca=ours.cert)) as client:
            assert texts((await client.run("plain", "hi")).output) == ["hello"]
        for distrustful in (Tls(ca=theirs.cert), None):
            async with AsyncClient(host.target, tls=distrustful, reconnect_seconds=0) as client:
                with pytest.raises(BreezewayError) as caught:
                    await client.create("plain", "hi")
                assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_with_a_client_ca_clients_must_show_who_they_are(
    tmp_path: Path, ours: Identity, theirs: Identity
) -> None:
    tls = transport(grpc_tls_cert=ours.cert, grpc_tls_key=ours.key, grpc_tls_client_ca=theirs.cert)
    async with Host.serving(tmp_path, PLAIN_AGENT, transport=tls) as host:
        known = Tls(ca=ours.cert, cert=theirs.cert, key=theirs.key)
        async with AsyncClient(host.target, tls=known) as client:
            assert texts((await client.run("plain", "hi")).output) == ["hello"]
        for unknown in (Tls(ca=ours.cert), Tls(ca=ours.cert, cert=ours.cert, key=ours.key)):
            async with AsyncClient(host.target, tls=unknown, reconnect_seconds=0) as client:
                with pytest.raises(BreezewayError) as caught:
                    await client.create("plain", "hi")
                assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_server_that_takes_its_time_to_greet_is_waited_for(tmp_path: Path) -> None:
    async with Host.serving(tmp_path, PLAIN_AGENT) as host, Proxy.serving(host.port) as proxy:
        # Several times what a reconnect is put off at first.
        greeting = asyncio.create_task(proxy.stall(0.8))
        async with AsyncClient(f"127.0.0.1:{proxy.port}", reconnect_seconds=0) as client:
            assert texts((await client.run("plain", "hi")).output) == ["hello"]
        await greeting


async def test_a_stream_survives_connections_that_may_not_grow_old(tmp_path: Path) -> None:
    scripted = ScriptedAgent()
    aging = transport(grpc_max_connection_age_seconds=0.5, grpc_max_connection_age_grace_seconds=0.5)
    async with (
        Host.serving(tmp_path, scripted, transport=aging) as host,
        AsyncClient(host.target, reconnect_seconds=PATIENCE) as client,
    ):

        async def go_on(script: Script) -> None:
            """Say the rest once the connection is another."""
            ready = grpc.ChannelConnectivity.READY
            await client._channel.wait_for_state_change(ready)
            # Nothing but the call that goes on with the stream connects again.
            while (state := client._channel.get_state()) is not ready:
                await client._channel.wait_for_state_change(state)
            script.say(TextDelta("two"))
            script.end()

        events, going_on = [], None
        async for event in client.stream("scripted", "hi"):
            events.append(event)
            script = scripted.script(event.run_id)
            if event.HasField("run_started"):
                script.say(TextDelta("one "))
            elif going_on is None and event.HasField("text_delta"):
                going_on = asyncio.create_task(go_on(script))
        assert going_on is not None
        await going_on
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (text_of_events(events), kinds(events)[-1]) == ("one two", "run_completed")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grpc_tls_cert": "/no/cert.pem"}, "BREEZEWAY_GRPC_TLS_CERT and BREEZEWAY_GRPC_TLS_KEY: are needed both"),
        ({"grpc_tls_client_ca": "/no/ca.pem"}, "BREEZEWAY_GRPC_TLS_CERT and BREEZEWAY_GRPC_TLS_KEY: are needed both"),
        (
            {"grpc_tls_cert": "/no/cert.pem", "grpc_tls_key": "/no/key.pem"},
            "BREEZEWAY_GRPC_TLS_KEY: /no/key.pem cannot be read",
        ),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        transport(**settings)
    assert message in str(caught.value)
