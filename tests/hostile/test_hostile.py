"""A few thousand requests that no client should send; `python -m tests.hostile` sends as many as one likes."""

import asyncio
from collections.abc import Iterator
from random import Random

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.attack import attack, resident_bytes
from tests.hostile.rpc import METHODS, call, garbage_for
from tests.hostile.target import PROCESSES, check_log, check_served, serving
from tests.support.patience import PATIENCE
from tests.support.system import System

_MOST_GROWTH = 8 * 1024 * 1024
_OUR_FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}
_NO_MESSAGE = b"\x0b"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with serving(tmp_path_factory.mktemp("hostile")) as system:
        yield system
        assert check_log(system) == []


def test_no_request_is_answered_as_a_fault_of_ours(target: System) -> None:
    pids = {module: target.pid_of(module) for module in PROCESSES}
    asyncio.run(attack(target.http_port, target.grpc_port, requests=2500, seed="warm-up"))
    before = {module: resident_bytes(pid) for module, pid in pids.items()}
    outcome = asyncio.run(attack(target.http_port, target.grpc_port, requests=2500, seed="attack"))
    assert outcome.faults == []
    assert check_served(target) == []
    assert {module: target.pid_of(module) for module in PROCESSES} == pids
    for module, pid in pids.items():
        # What caches hold, and what is kept on purpose, was there before.
        assert resident_bytes(pid) - before[module] < _MOST_GROWTH


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.full_name))
async def test_bytes_that_are_no_message_are_their_senders_fault(target: System, method: MethodDescriptor) -> None:
    async with grpc.aio.insecure_channel(target.grpc_target) as channel:
        assert await call(channel, method, _NO_MESSAGE, seconds=PATIENCE) == grpc.StatusCode.INVALID_ARGUMENT


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(METHODS), seed=st.integers())
def test_no_message_breaks_a_method(target: System, method: MethodDescriptor, seed: int) -> None:
    async def status() -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(target.grpc_target) as channel:
            return await call(channel, method, garbage_for(method, Random(seed)))  # noqa: S311 - to be had again

    assert asyncio.run(status()) not in _OUR_FAULTS
