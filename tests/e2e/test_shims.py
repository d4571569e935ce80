"""Several shims on one port: each serves, each is replaced when it is lost, and any of them may answer."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from openai import AsyncOpenAI

from tests.support.system import START_SECONDS, System, launch

BAD_CONFIGURATION = 2
CANNOT_LISTEN = 3
_LISTENING = "listening "
_LOST = "breezeway_shim ended with status -9"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System.serving(tmp_path_factory.mktemp("shims"), environ={"BREEZEWAY_SHIMS": "2"}) as system:
        system.output.wait_for(_LISTENING, times=2)
        yield system


async def _answers(system: System) -> None:
    """Ask over a connection of its own."""
    async with aiohttp.ClientSession() as session, session.get(f"{system.url}/v1/models") as response:
        assert response.status == 200


async def test_each_serves_while_the_other_is_gone_and_is_replaced(system: System) -> None:
    for shim in system.pids_of("breezeway_shim"):
        text = system.output.text
        os.kill(shim, signal.SIGKILL)
        await asyncio.to_thread(system.output.wait_for, _LOST, times=text.count(_LOST) + 1)
        # The next one takes a second to start: until then it is the other that answers all of them.
        await asyncio.gather(*(_answers(system) for _ in range(20)))
        await asyncio.to_thread(system.output.wait_for, _LISTENING, times=text.count(_LISTENING) + 1)
    assert len(system.pids_of("breezeway_shim")) == 2
    await asyncio.gather(*(_answers(system) for _ in range(20)))


async def test_a_request_that_comes_again_is_the_same_run_whichever_takes_it(system: System) -> None:
    async def ask(_: int) -> str:
        body = {"model": "demo", "input": "What is 6 * 7?"}
        async with (
            aiohttp.ClientSession(headers={"Idempotency-Key": "once"}) as session,
            session.post(f"{system.url}/v1/responses", json=body) as response,
        ):
            return str((await response.json())["id"])

    assert len(set(await asyncio.gather(*map(ask, range(20))))) == 1


async def test_a_stream_goes_on_at_another_when_its_own_is_killed(system: System) -> None:
    async with AsyncOpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0) as client:
        begun = await client.responses.create(model="demo", input="What is 6 * 7?", background=True)
        # The first event has the number 0.
        seen = [0]
        for shim in system.pids_of("breezeway_shim"):
            stream = await client.responses.retrieve(begun.id, stream=True, starting_after=seen[-1])
            seen += [(await anext(stream)).sequence_number for _ in range(3)]
            listening = system.output.text.count(_LISTENING)
            os.kill(shim, signal.SIGKILL)
            await asyncio.to_thread(system.output.wait_for, _LISTENING, times=listening + 1)
        stream = await client.responses.retrieve(begun.id, stream=True, starting_after=seen[-1])
        rest = [event async for event in stream]
    seen += [event.sequence_number for event in rest]
    assert seen == list(range(len(seen)))
    assert rest[-1].type == "response.completed"


@pytest.mark.parametrize("shims", ["1", "2"])
def test_a_port_that_others_have_is_not_shared_with_them(tmp_path: Path, shims: str) -> None:
    system = System(tmp_path)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = system.environ | {"BREEZEWAY_HTTP_LISTEN": address}
        process = launch("serve", "--shims", shims, environ=environ)
        output, _ = process.communicate(timeout=START_SECONDS)
    system.close()
    assert (process.returncode, f"Cannot listen on {address}" in output) == (CANNOT_LISTEN, True), output


def test_all_of_them_end_with_serve(tmp_path: Path) -> None:
    with System.serving(tmp_path, environ={"BREEZEWAY_SHIMS": "3"}) as system:
        system.output.wait_for(_LISTENING, times=3)
        shims = system.pids_of("breezeway_shim")
        assert len(shims) == 3
        assert system.terminate() == 0
        for shim in shims:
            with pytest.raises(ProcessLookupError):
                os.kill(shim, 0)


@pytest.mark.parametrize("shims", ["0", "65", "many"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, shims: str) -> None:
    system = System(tmp_path, environ={"BREEZEWAY_SHIMS": shims})
    process = launch("serve", environ=system.environ)
    output, _ = process.communicate(timeout=START_SECONDS)
    system.close()
    assert (process.returncode, "BREEZEWAY_SHIMS" in output) == (BAD_CONFIGURATION, True), output
