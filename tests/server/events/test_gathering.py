"""A lone event never waits; under load the next batch gathers for a few milliseconds."""

import asyncio

import pytest
from breezeway_server.events.gathering import Gathering

from tests.support.clock import HeldClock


class Clock:
    """Seconds, as the test sets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def loaded(clock: Clock, gathering: Gathering, events: int = 2) -> None:
    """So many events a millisecond, for a while."""
    for _ in range(200):
        clock.now += 0.001
        gathering.sent(events)


def test_the_first_event_does_not_wait() -> None:
    assert Gathering(Clock()).pause() == 0


def test_events_that_come_singly_never_wait() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    for _ in range(200):
        clock.now += 0.01
        assert gathering.pause() == 0
        gathering.sent(1)


def test_a_handful_of_events_that_come_together_are_no_load() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    for _ in range(10):
        clock.now += 0.0001
        gathering.sent(3)
        assert gathering.pause() == 0


def test_under_load_a_batch_gathers_but_not_for_long() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    loaded(clock, gathering)
    assert 0 < gathering.pause() <= 0.005
    clock.now += 0.006
    assert gathering.pause() == 0, "it has waited long enough already"


@pytest.mark.parametrize(("events", "least", "most"), [(4, 0.005, 0.01), (12, 0.01, 0.02)])
def test_the_heavier_the_load_the_longer_it_gathers(events: int, least: float, most: float) -> None:
    clock = Clock()
    gathering = Gathering(clock)
    loaded(clock, gathering, events)
    assert least < gathering.pause() <= most


def test_load_is_forgotten_after_a_silence() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    loaded(clock, gathering)
    clock.now += 1
    gathering.sent(1)
    assert gathering.pause() == 0


async def test_a_batch_waits_for_company_as_long_as_the_load_asks() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    await gathering.company()
    loaded(clock, gathering)
    with HeldClock.held() as held:
        waiting = asyncio.create_task(gathering.company())
        held.move(0.004)
        await asyncio.sleep(0)
        assert not waiting.done()
        await held.move_until(waiting, 0.001)


async def test_who_is_in_a_hurry_waits_for_nobody_and_those_behind_do() -> None:
    clock = Clock()
    gathering = Gathering(clock)
    loaded(clock, gathering)
    with HeldClock.held() as held:
        waiting = asyncio.create_task(gathering.company())
        await asyncio.sleep(0)
        gathering.hurry()
        await waiting
        gathering.hurry()
        await gathering.company()
        behind = asyncio.create_task(gathering.company())
        await asyncio.sleep(0)
        assert not behind.done()
        await held.move_until(behind, 0.005)
