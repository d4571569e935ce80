"""What the log counts: commits, what fails, and what is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from breezeway.telemetry.exposition import exposition
from breezeway_server.errors import Unavailable
from breezeway_server.events.log import EventLog
from breezeway_server.events.metrics import LogMetrics
from prometheus_client import CollectorRegistry

from tests.server.events.fakes import FakeLogStore, Writing
from tests.support.metrics import Scrape

RUN = "run_019a3e5c7d0070008000000000000001"


class Counted:
    def __init__(self) -> None:
        self.store = FakeLogStore()
        self.registry = CollectorRegistry()
        self.log = EventLog(self.store, patience=0, metrics=LogMetrics(self.registry))

    def scrape(self) -> Scrape:
        return Scrape(exposition(self.registry))


@pytest.fixture
async def counted() -> AsyncIterator[Counted]:
    counted = Counted()
    writer = asyncio.create_task(counted.log.write())
    yield counted
    writer.cancel()
    await asyncio.wait([writer])


async def test_a_commit_is_counted_with_its_events(counted: Counted) -> None:
    run = Writing(counted.log, RUN)
    run.begin()
    assert counted.log.backlog > 0
    await run.run_log.reach(run.run_log.last)
    scrape = counted.scrape()
    assert scrape("breezeway_commits_total") == 1
    assert scrape("breezeway_commit_seconds_count") == 1
    assert scrape("breezeway_commit_events_sum") == len(run.events)
    assert (counted.log.shown, counted.log.backlog) == (len(run.events), 0)
    counted.log.close(run.run_log)
    assert counted.log.shown == len(run.events)


async def test_only_what_was_given_up_is_lost_and_what_was_seen_is_not(counted: Counted) -> None:
    run = Writing(counted.log, RUN)
    run.begin()
    await run.run_log.reach(run.run_log.last)
    seen = run.run_log.last
    counted.store.faults = 1
    run.say("gone")
    run.say("too")
    with pytest.raises(Unavailable):
        await run.run_log.reach(run.run_log.last)
    scrape = counted.scrape()
    assert scrape("breezeway_events_lost_total") == 2
    assert scrape("breezeway_store_errors_total") == 1
    assert (counted.log.shown, counted.log.failing) == (seen, True)


async def test_readers_are_counted_and_the_slowest_is_known(counted: Counted) -> None:
    run = Writing(counted.log, RUN)
    run.begin()
    await run.run_log.reach(run.run_log.last)
    reader = counted.log.follow(RUN)
    assert len(counted.log.readers) == 0
    await anext(reader)
    assert (len(counted.log.readers), counted.log.readers.largest_lag) == (1, run.run_log.last)
    run.say("more")
    await run.run_log.reach(run.run_log.last)
    assert counted.log.readers.largest_lag == run.run_log.last
    await anext(reader)
    assert counted.log.readers.largest_lag == 1
    await reader.aclose()
    assert (len(counted.log.readers), counted.log.readers.largest_lag) == (0, 0)
