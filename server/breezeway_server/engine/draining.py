"""Draining: the runs under way come to an end, or stop where they are, before the process does."""

import structlog
from breezeway.v1 import run_pb2
from grpc import StatusCode

from breezeway_server.agents.errors import run_error
from breezeway_server.engine.roster import Roster
from breezeway_server.errors import Unavailable
from breezeway_server.store.base import Store

_logger = structlog.get_logger()


async def drain(roster: Roster, store: Store, grace: float) -> None:
    """Give the runs under way `grace` seconds, then stop them. No new one may begin any more.

    Logged runs stop where they are, and the next start goes on with them; the others fail.
    """
    held = [run for run in roster.under_way if run.runner.log.logged]
    for run in held:
        if run.runner.fold.state == run_pb2.RUN_STATE_REQUIRES_ACTION:
            # It may wait for days, and its server is not needed for that.
            run.runner.interrupt()
    await roster.wait(grace)
    stopped = run_error("SERVER_STOPPED", "The server was stopped before the run was over.", StatusCode.UNAVAILABLE)
    for run in roster.under_way:
        if run.runner.log.logged:
            run.runner.interrupt()
        else:
            run.runner.fail(stopped)
    await roster.wait()
    try:
        # The next start goes on with them, and must not take this for a loss.
        await store.release({run.run_id: run.runner.log.attempt for run in held})
    except Unavailable:
        _logger.warning("release_failed", runs=len(held))
