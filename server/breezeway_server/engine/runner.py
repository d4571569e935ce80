"""The runner: carries one attempt of one run from its start to its terminal event."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

import structlog
from breezeway.v1 import item_pb2, run_pb2
from grpc import StatusCode

from breezeway_server.agents.base import Agent, AgentError, Approval
from breezeway_server.agents.errors import run_error
from breezeway_server.agents.steps import ModelCallCompleted
from breezeway_server.engine.approvals import Approvals, Grants
from breezeway_server.engine.recorder import Recorder
from breezeway_server.engine.time_limit import TimeLimit
from breezeway_server.engine.watch import Watch
from breezeway_server.errors import Unavailable
from breezeway_server.events.fold import RunFold
from breezeway_server.events.run_log import Fenced, RunLog

_logger = structlog.get_logger()

Ready = Callable[[], Awaitable[Sequence[item_pb2.Item]]]
"""Waits until a run may start, and returns the history before it."""
Work = Agent | run_pb2.RunError
"""What carries a run out; or the error that it ends with, because nothing can."""

# An agent that is faster than the store waits when so many bytes of its run are not durable yet.
_BACKLOG = 1024 * 1024
_RETRY_SECONDS = 1.0


class Context:
    """A run as its agent sees it; see `agents.base.RunContext`."""

    __slots__ = ("_approvals", "_fold", "attempt", "history", "input", "run_id", "spec", "tenant")

    def __init__(
        self, tenant: str, fold: RunFold, attempt: int, history: Sequence[item_pb2.Item], approvals: Approvals
    ) -> None:
        self._fold = fold
        self._approvals = approvals
        self.run_id = fold.run_id
        self.tenant = tenant
        self.attempt = attempt
        self.spec = fold.spec
        self.history = history
        self.input = tuple(fold.input)

    @property
    def output(self) -> list[item_pb2.Item]:
        """What the run has completed so far."""
        return self._fold.completed

    async def approval(self, call_id: str) -> Approval:
        """Wait until somebody decides about a call."""
        return await self._approvals.wait(call_id)


class Runner:
    """One attempt of one run. It has `settled` once its terminal event is visible, or it was interrupted.

    Its work is an agent to follow, or an error to end with where no agent can go on with the run.
    """

    __slots__ = (
        "_limit",
        "_recorder",
        "_running",
        "_settled",
        "_stop",
        "_task",
        "_tenant",
        "_work",
        "approvals",
        "fold",
        "log",
        "watch",
    )

    def __init__(
        self,
        tenant: str,
        fold: RunFold,
        run_log: RunLog,
        recorder: Recorder,
        work: Work,
        *,
        grants: Grants,
        time_limit: float,
        watch: Watch,
    ) -> None:
        """`grants` knows whether leave for a tool was given before; `time_limit` is in seconds."""
        self.fold = fold
        self.log = run_log
        self._limit = TimeLimit(time_limit, self._time_out)
        self.approvals = Approvals(tenant, fold, run_log, recorder, grants=grants, limit=self._limit)
        # No Event: an idle run would hold one, with its queue, to say the same in five times the memory.
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.watch = watch
        self._tenant = tenant
        self._recorder = recorder
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._running = False
        self._stop: Callable[[], None] | None = None

    def works_with(self, agent: Agent) -> bool:
        """Return whether this agent is its work."""
        return self._work is agent

    def begin(self, ready: Ready) -> asyncio.Task[None]:
        """Start; `ready` waits for the run's turn and gives the history before it. The caller awaits the task."""
        self._task = asyncio.create_task(self._run(ready), name=self.fold.run_id)
        # Not in the task itself: whoever waits must find the books of the task's owner closed too.
        self._task.add_done_callback(self._settle)
        return self._task

    @property
    def has_settled(self) -> bool:
        """Whether nothing more of it comes."""
        return self._settled.done()

    async def settled(self) -> None:
        """Wait until nothing more of it comes."""
        # Whoever is cancelled while waiting must not cancel what the others wait for.
        await asyncio.shield(self._settled)

    def _settle(self, _: asyncio.Task[None]) -> None:
        self._settled.set_result(None)

    def cancel(self) -> None:
        """Ask the run to end as cancelled. Nothing happens to one that is over or being stopped."""
        self._stop_by(self._recorder.cancel)

    def fail(self, error: run_pb2.RunError) -> None:
        """Ask the run to end as failed. Nothing happens to one that is over or being stopped."""
        self._stop_by(lambda: self._recorder.fail(error))

    def interrupt(self) -> None:
        """Stop this attempt where it is, without an end: the next start of the server goes on from there."""
        self._stop_by(self._leave)

    def _stop_by(self, stop: Callable[[], None]) -> None:
        if self._stop is None and not self.fold.over:
            self._stop = stop
            # A task that is cancelled before its first step would never get to record its end.
            if self._running and self._task is not None:
                self._task.cancel()

    def _time_out(self) -> None:
        message = f"The run took longer than {self._limit.seconds:g} seconds, which is the limit."
        self.fail(run_error("RUN_TIMEOUT", message, StatusCode.DEADLINE_EXCEEDED))

    def _leave(self) -> None:
        message = f"The server stops; follow {self.fold.run_id} again when it is back."
        raise Unavailable("SERVER_DRAINING", message, _RETRY_SECONDS)

    async def _run(self, ready: Ready) -> None:
        self._running = True
        # The lines that are logged on the way, and the spans that are begun, are this run's.
        structlog.contextvars.bind_contextvars(run_id=self.fold.run_id)
        self.watch.span.enter()
        try:
            try:
                if self._stop is None:
                    await self._attempt(ready)
            except asyncio.CancelledError:
                if self._stop is None:
                    raise
            if self._stop is not None and not self.fold.over:
                self._stop()
            await self.log.reach(self.log.last)
        except Fenced:
            _logger.warning("run_fenced", run_id=self.fold.run_id, attempt=self.log.attempt)
        except Unavailable as error:
            await self._give_up(error)

    async def _give_up(self, error: Unavailable) -> None:
        """End the readers where they are; the next start of the server takes the run up from its log."""
        _logger.warning("run_interrupted", run_id=self.fold.run_id, attempt=self.log.attempt, reason=error.reason)
        if self.log.error is None:
            await self.log.reach(self.log.last)
            self.log.fail(error)

    async def _attempt(self, ready: Ready) -> None:
        if isinstance(self._work, run_pb2.RunError):
            self._recorder.fail(self._work)
            return
        end: Callable[[], None]
        try:
            history = await ready()
            if self._recorder.start():
                self._limit.start()
                await self._follow(self._work, history)
        except Unavailable as error:
            if self.log.error is not None:
                raise
            # Something could not be read; the end can be written as soon as the store is back.
            failed = run_error(error.reason, error.message, error.code, retry_after=error.retry_after)
            end = partial(self._recorder.fail, failed)
        except AgentError as error:
            end = partial(self._recorder.fail, error.error)
        except Exception:
            # Agents are anybody's code: whatever breaks in one is the end of its run and of nothing else.
            _logger.exception("agent_failed", run_id=self.fold.run_id, agent=self.fold.spec.agent)
            end = partial(self._recorder.fail, _agent_failed(self.fold))
        else:
            end = self._recorder.finish
        finally:
            self._limit.close()
        # Some agents make an error or a return of being cancelled; the run ends as it was asked to.
        if self._stop is None:
            end()

    async def _follow(self, agent: Agent, history: Sequence[item_pb2.Item]) -> None:
        context = Context(self._tenant, self.fold, self.log.attempt, history, self.approvals)
        async with aclosing(agent.run(context)) as steps:
            async for step in steps:
                # An agent that is being stopped may say what it used, and nothing more.
                if self._stop is not None and not isinstance(step, ModelCallCompleted):
                    return
                if not self._recorder.record(step):
                    return
                if self.log.backlog > _BACKLOG:
                    await self.log.reach(self.log.last)


def _agent_failed(fold: RunFold) -> run_pb2.RunError:
    message = f"Agent {fold.spec.agent} failed; the server's log has the details under {fold.run_id}."
    return run_error("AGENT_FAILED", message, StatusCode.INTERNAL)
