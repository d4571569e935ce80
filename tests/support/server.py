"""The server's inside in one process: a store, its log and a supervisor, and agents whose steps a test feeds."""

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import grpc
from breezeway.v1 import agent_pb2, event_pb2, item_pb2, run_pb2
from breezeway_server.agents.base import Agent, RunContext
from breezeway_server.agents.build import AgentBuilder
from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.agents.steps import Step
from breezeway_server.engine.limits import Limits
from breezeway_server.engine.metrics import RunMetrics
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.events.framing import decode
from breezeway_server.events.ids import Uuid7
from breezeway_server.events.log import EventLog
from breezeway_server.jobs.jobs import Jobs
from breezeway_server.profiles.profiles import Profiles
from breezeway_server.profiles.secrets import SecretBox
from breezeway_server.services.keyring import KeyRing
from breezeway_server.services.operations import OperationsService
from breezeway_server.services.server import GrpcServer
from breezeway_server.services.transport import PLAIN, Transport
from breezeway_server.store.base import Store
from breezeway_server.store.sqlite import SqliteStore, open_sqlite
from prometheus_client import CollectorRegistry

from tests.support.agents import said

TENANT = "default"
DATABASE = "breezeway.sqlite3"
LIMITS = Limits(
    max_runs=100,
    run_seconds=60,
    output_bytes=1_000_000,
    memory_run_seconds=60,
    memory_run_bytes=10_000_000,
    log_seconds=3600,
    request_seconds=3600,
    queued_runs=50,
    run_tokens=None,
    max_attempts=5,
)
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Script:
    """One run in the hands of a test: what its agent says next, and what the agent saw."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.closed = asyncio.Event()
        self.contexts: list[RunContext] = []
        self._steps: asyncio.Queue[Step | Exception | None] = asyncio.Queue()

    def say(self, *steps: Step) -> None:
        """Have the agent say these steps."""
        for step in steps:
            self._steps.put_nowait(step)

    def fail(self, error: Exception) -> None:
        """Have the agent raise this."""
        self._steps.put_nowait(error)

    def end(self) -> None:
        """Have the agent come to its end."""
        self._steps.put_nowait(None)

    async def next(self) -> Step | None:
        """The next step; None at the end."""
        step = await self._steps.get()
        if isinstance(step, Exception):
            raise step
        return step


class ScriptedAgent:
    """Does in each run what the test feeds its script, and nothing until then."""

    def __init__(self, name: str = "scripted", *, aliases: Sequence[str] = (), resumable: bool = True) -> None:
        capabilities = agent_pb2.AgentCapabilities(client_tools=True, multiple_choices=True, resumable=resumable)
        self.info = agent_pb2.Agent(name=name, aliases=aliases, kind="scripted", capabilities=capabilities)
        self._scripts: defaultdict[str, Script] = defaultdict(Script)

    def script(self, run_id: str) -> Script:
        """The script of a run, whether it has begun or not."""
        return self._scripts[run_id]

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:
        script = self.script(context.run_id)
        script.contexts.append(context)
        script.begun.set()
        try:
            while (step := await script.next()) is not None:
                yield step
        finally:
            script.closed.set()

    async def close(self) -> None:
        """Nothing to let go of."""


class PlainAgent:
    """Says the same steps in every run, at once; takes no more than text."""

    def __init__(self, name: str, *steps: Step) -> None:
        self.info = agent_pb2.Agent(name=name, kind="plain")
        self._steps = steps

    async def run(self, context: RunContext) -> AsyncGenerator[Step, None]:  # noqa: ARG002 - the agents' interface
        for step in self._steps:
            yield step

    async def close(self) -> None:
        """Nothing to let go of."""


class Stack:
    """A log with its writer, and a supervisor, over a store. Made by `running`."""

    def __init__(
        self, store: Store, agents: Sequence[Agent], limits: Limits, patience: float, ticks: Callable[[], int]
    ) -> None:
        self.store = store
        self.agents = AgentRegistry(agents)
        self.log = EventLog(store, patience=patience)
        self.new_id = Uuid7()
        self.metrics = RunMetrics()
        self.supervisor = Supervisor(
            store, self.log, self.agents, limits, new_id=self.new_id, ticks=ticks, metrics=self.metrics
        )
        self.jobs = Jobs(store, self.supervisor, self.new_id, clock=time.time_ns)
        self.builder = AgentBuilder({}, {"MODEL_KEY": "k3y"})
        self.profiles = self.profiles_with(None)
        self._writer = asyncio.create_task(self.log.write())

    def operations(self) -> OperationsService:
        """What operators ask for this stack."""
        return OperationsService(self.supervisor, self.log, self.agents, self.store, CollectorRegistry())

    def profiles_with(self, secrets: SecretBox | None) -> Profiles:
        """Profiles over this stack's store and registry, none of them loaded."""
        return Profiles(self.store, self.agents, self.builder, self.supervisor, secrets)

    async def create(
        self, text: str = "hello", *, request_id: str = "", request_hash: bytes = b"", **spec: object
    ) -> str:
        """Have a run of agent "scripted" accepted."""
        wanted = run_spec(**spec)
        return await self.supervisor.intake.create(
            TENANT, wanted, [said(text)], request_id=request_id, request_hash=request_hash
        )

    async def events(self, run_id: str, *, after: int = 0, milestones: bool = False) -> list[event_pb2.RunEvent]:
        """All events of a run above `after`, to its end."""
        batches = self.supervisor.follow(TENANT, run_id, after=after, milestones=milestones)
        return [event async for frames in batches for event in decode(frames)]

    async def ended(self, run_id: str) -> run_pb2.Run:
        """The run, once it is over."""
        await self.settled(run_id)
        return await self.get(run_id)

    async def settled(self, run_id: str) -> None:
        """Wait until a run is over, and this process is done with it."""
        live = self.supervisor._roster.get(TENANT, run_id)
        if live is not None:
            await live.runner.settled()

    async def get(self, run_id: str) -> run_pb2.Run:
        """The run as it is now."""
        return await self.supervisor.get(TENANT, run_id)

    async def seen(self, run_id: str, kind: str, *, count: int = 1) -> event_pb2.RunEvent:
        """The event of a kind that comes as the `count`th, once it is visible."""
        async with aclosing(self.supervisor.follow(TENANT, run_id)) as batches:
            async for frames in batches:
                for event in decode(frames):
                    count -= event.WhichOneof("kind") == kind
                    if count == 0:
                        return event
        raise AssertionError(f"{run_id} ended without {kind}")

    async def crash(self) -> None:
        """Stop as a killed process does: nothing more is written, and no run gets an end."""
        await _cancelled(self._writer)
        for run in self.supervisor._roster.under_way:
            task = run.runner._task
            if task is not None:
                await _cancelled(task)

    async def stop(self) -> None:
        """Stop as a drained server does, without grace."""
        await self.supervisor.drain(0)
        await self.profiles.close()
        await _cancelled(self._writer)
        await asyncio.gather(*(shared.close() for shared in self.builder.shared))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def run_spec(**fields: object) -> run_pb2.RunSpec:
    """A spec for agent "scripted", LOGGED where nothing else is said."""
    spec = run_pb2.RunSpec(**fields)  # type: ignore[arg-type] # the fields of the message, by name
    spec.agent = spec.agent or "scripted"
    spec.durability = spec.durability or run_pb2.DURABILITY_LOGGED
    return spec


def kinds(events: Sequence[event_pb2.RunEvent]) -> list[str]:
    """The kinds of the events."""
    return [str(event.WhichOneof("kind")) for event in events]


def text_of_events(events: Sequence[event_pb2.RunEvent]) -> str:
    """The text of all text deltas."""
    return "".join(event.text_delta.text for event in events)


def texts(items: Sequence[item_pb2.Item]) -> list[str]:
    """The text of each message."""
    return ["".join(part.text.text for part in item.message.content) for item in items if item.HasField("message")]


@cache
def _new_store() -> bytes:
    """The file of a new store: to run the migrations takes longer than most tests."""
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner() as runner:
        store = open_sqlite(Path(directory), "NORMAL")
        runner.run(store.close())
        return (Path(directory) / DATABASE).read_bytes()


async def opened(directory: Path) -> SqliteStore:
    """The SQLite store in a directory; a new one where there is none."""
    file = directory / DATABASE
    if not file.exists():
        file.write_bytes(await asyncio.to_thread(_new_store))
    return open_sqlite(directory, "NORMAL")


@asynccontextmanager
async def running(
    directory: Path,
    *agents: Agent,
    patience: float = 0,
    wrap: Callable[[Store], Store] = lambda store: store,
    ticks: Callable[[], int] = time.monotonic_ns,
    **limits: float,
) -> AsyncIterator[Stack]:
    """A stack over the SQLite store in `directory`, taking up what an earlier one left there.

    `wrap` may put something in front of the store, `ticks` is the clock of rate limits; `limits` are those that differ
    from `LIMITS`.
    """
    store = await opened(directory)
    stack = Stack(wrap(store), agents, replace(LIMITS, **limits), patience, ticks)  # type: ignore[arg-type] # by name
    try:
        await stack.supervisor.start()
        yield stack
    finally:
        await stack.stop()
        await store.close()


@asynccontextmanager
async def serving(
    stack: Stack, keys: KeyRing | None = None, *, address: str = "127.0.0.1:0", transport: Transport = PLAIN
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a real server in front of a stack; open to everybody where there are no keys."""
    server = GrpcServer(
        stack.supervisor,
        stack.agents,
        stack.store,
        stack.new_id,
        max_message_bytes=MAX_MESSAGE_BYTES,
        keys=keys or KeyRing([]),
        profiles=stack.profiles,
        jobs=stack.jobs,
        operations=stack.operations(),
        transport=transport,
    )
    (port,) = server.bind([address])
    await server.start()
    options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield channel
    finally:
        await server.stop(0)
