"""Runs, cursors, cancels, request ids and restarts against a dictionary: the promises that a log makes.

The machine does to a whole server's inside, over one store, what its users, its agents and its machine may do, in any
order. The model knows of every run what was seen of it; nothing that was seen may ever change.
"""

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from breezeway.v1 import event_pb2, run_pb2
from breezeway_server.agents.steps import TextDelta
from breezeway_server.errors import CursorAhead, NotFound, RequestIdReused
from breezeway_server.events.framing import decode
from breezeway_server.events.legal import TERMINAL_KINDS, TERMINAL_STATES
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from structlog.testing import capture_logs

from tests.support.server import TENANT, ScriptedAgent, Stack, kinds, running, text_of_events, texts

LOGGED, MEMORY = run_pb2.DURABILITY_LOGGED, run_pb2.DURABILITY_MEMORY
ENDS = {
    "end": run_pb2.RUN_STATE_COMPLETED,
    "fail": run_pb2.RUN_STATE_FAILED,
    "cancel": run_pb2.RUN_STATE_CANCELLED,
}


@dataclass
class Known:
    """What the model knows of a run."""

    run_id: str
    durability: run_pb2.Durability.ValueType
    attempt: int = 1
    words: list[str] = field(default_factory=list)
    state: run_pb2.RunState.ValueType | None = None
    seen: list[event_pb2.RunEvent] = field(default_factory=list)
    gone: bool = False


class LogMachine(RuleBasedStateMachine):
    """One server's inside, restarted now and then."""

    runs: Bundle[Known] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.known: list[Known] = []
        self.requests: dict[str, tuple[Known, bytes]] = {}

    @initialize()
    def start(self) -> None:
        self.loop.run(self._start())

    async def _start(self) -> None:
        self.agent = ScriptedAgent()
        self.exits = AsyncExitStack()
        self.exits.enter_context(capture_logs())
        stack = running(self.directory, self.agent, max_attempts=1000)
        self.stack: Stack = await self.exits.enter_async_context(stack)

    @rule(target=runs, durability=st.sampled_from([LOGGED, MEMORY]))
    def create(self, durability: run_pb2.Durability.ValueType) -> Known:
        return self._accepted(self.loop.run(self.stack.create(durability=durability)), durability)

    def _accepted(self, run_id: str, durability: run_pb2.Durability.ValueType) -> Known:
        # A run is accepted once its first event is durable, which is what CreateRun waits for.
        self.loop.run(self.stack.get(run_id))
        known = Known(run_id, durability)
        self.known.append(known)
        return known

    @rule(
        target=runs,
        durability=st.sampled_from([LOGGED, MEMORY]),
        request_id=st.sampled_from(["a", "b"]),
        body=st.sampled_from([b"1", b"2"]),
        times=st.integers(1, 3),
    )
    def create_with_request_id(
        self, durability: run_pb2.Durability.ValueType, request_id: str, body: bytes, times: int
    ) -> Known:
        async def calls() -> list[str | BaseException]:
            call = self.stack.create
            return await asyncio.gather(
                *(call(durability=durability, request_id=request_id, request_hash=body) for _ in range(times)),
                return_exceptions=True,
            )

        answers = self.loop.run(calls())
        earlier = self.requests.get(request_id)
        if earlier is not None and earlier[1] != body:
            assert {type(answer) for answer in answers} == {RequestIdReused}
            return earlier[0]
        (run_id,) = set(answers)
        assert isinstance(run_id, str)
        if earlier is not None:
            assert run_id == earlier[0].run_id
            return earlier[0]
        known = self._accepted(run_id, durability)
        self.requests[request_id] = (known, body)
        return known

    @rule(known=runs, words=st.lists(st.sampled_from(["one ", "two ", "\U0001f3d7 "]), min_size=1, max_size=5))
    def say(self, known: Known, words: list[str]) -> None:
        if known.gone or known.state is not None:
            return
        known.words += words
        self.agent.script(known.run_id).say(*map(TextDelta, words))
        self.loop.run(self.stack.seen(known.run_id, "text_delta", count=len(known.words)))

    @rule(known=runs, how=st.sampled_from(sorted(ENDS)))
    def finish(self, known: Known, how: str) -> None:
        if known.gone:
            return
        script = self.agent.script(known.run_id)
        if how == "cancel":
            run = self.loop.run(self.stack.supervisor.cancel(TENANT, known.run_id))
            assert run.state in TERMINAL_STATES
            # Promise 8: what settled has let go.
            assert known.state is not None or script.closed.is_set() is script.begun.is_set()
        elif how == "fail":
            script.fail(ValueError("broken"))
        else:
            script.end()
        self.loop.run(self.stack.settled(known.run_id))
        known.state = known.state or ENDS[how]

    @rule(known=runs, share=st.floats(0, 1), milestones=st.booleans())
    def follow(self, known: Known, share: float, milestones: bool) -> None:
        if known.gone:
            return
        self.loop.run(self._look(known))
        after = round(share * len(known.seen))
        if known.state is not None:
            rest = self.loop.run(self.stack.events(known.run_id, after=after, milestones=milestones))
            wanted = known.seen[after:]
            if milestones:
                wanted = [
                    event for event in wanted if not str(event.WhichOneof("kind")).endswith(("_delta", "progress"))
                ]
            assert rest == wanted
        with pytest.raises(CursorAhead):
            self.loop.run(self.stack.events(known.run_id, after=len(known.seen) + 100))

    @rule(known=consumes(runs))
    def delete(self, known: Known) -> None:
        if known.gone:
            return
        self.loop.run(self.stack.supervisor.delete(TENANT, known.run_id))
        known.gone = True
        self._forget_requests()

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        async def again() -> None:
            if kill:
                await self.stack.crash()
            await self.exits.aclose()
            await self._start()

        self.loop.run(again())
        for known in self.known:
            known.gone = known.gone or known.durability == MEMORY
            if known.state is None:
                known.attempt += 1
        self._forget_requests()

    def _forget_requests(self) -> None:
        self.requests = {key: named for key, named in self.requests.items() if not named[0].gone}

    async def _look(self, known: Known) -> None:
        """See what is to be seen now, to the end where the run is over, and check it against what was seen before."""
        run = await self.stack.get(known.run_id)
        seen: list[event_pb2.RunEvent] = []
        batches = self.stack.supervisor.follow(TENANT, known.run_id)
        async with aclosing(batches):
            async for frames in batches:
                seen += decode(frames)
                if len(seen) >= run.last_sequence:
                    break
        assert seen[: len(known.seen)] == known.seen, "what was seen stays seen"
        assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
        attempts = [event.attempt for event in seen]
        assert attempts == sorted(attempts)
        assert not TERMINAL_KINDS & set(kinds(seen[:-1]))
        assert text_of_events(seen) == "".join(known.words)
        known.seen = seen
        if known.state is not None:
            assert run.state == known.state
            assert kinds(seen)[-1] in TERMINAL_KINDS
            assert "".join(texts(run.output)) == "".join(known.words)
            # An attempt that had no time to write anything leaves no trace.
            assert run.attempt <= known.attempt

    @invariant()
    def nobody_holds_what_is_gone(self) -> None:
        for known in self.known:
            if known.gone:
                with pytest.raises(NotFound):
                    self.loop.run(self.stack.get(known.run_id))

    def teardown(self) -> None:
        """Every accepted run reaches its end, and all that was seen of it is still so."""
        if hasattr(self, "stack"):
            for known in self.known:
                if not known.gone:
                    self.finish(known, "end")
                    self.loop.run(self._look(known))
            assert not list(self.stack.supervisor.under_way)
            self.loop.run(self.exits.aclose())
        self.loop.close()
        shutil.rmtree(self.directory)


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
