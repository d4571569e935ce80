"""What of an attempt's time counts."""

import asyncio

from breezeway_server.engine.time_limit import TimeLimit

from tests.support.clock import HeldClock


async def test_only_the_time_between_start_and_stop_counts() -> None:
    reached = asyncio.Event()
    limit = TimeLimit(30, reached.set)
    with HeldClock.held() as clock:
        limit.start()
        clock.move(20)
        limit.stop()
        clock.move(1000)
        limit.start()
        clock.move(9)
        await asyncio.sleep(0)
        assert not reached.is_set()
        clock.move(2)
        await reached.wait()


async def test_a_limit_that_was_closed_is_never_reached() -> None:
    reached = asyncio.Event()
    limit = TimeLimit(30, reached.set)
    with HeldClock.held() as clock:
        limit.start()
        limit.close()
        # Somebody may have waited for a decision that nobody needs any more.
        limit.start()
        clock.move(31)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not reached.is_set()
