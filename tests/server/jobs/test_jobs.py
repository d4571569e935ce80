"""Jobs: each firing is one run, whatever happens to the server and its clock."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from breezeway.v1 import job_pb2, run_pb2
from breezeway_server.agents.steps import TextDelta
from breezeway_server.errors import FailedPrecondition, InvalidRequest, NotFound, Unavailable
from breezeway_server.jobs.jobs import Jobs
from breezeway_server.jobs.scheduler import schedule
from breezeway_server.store.base import DueJob, RunFilter

from tests.server.jobs.clock import FakeClock, ns
from tests.support.server import TENANT, PlainAgent, ScriptedAgent, Stack, running, texts

NOON = "2026-11-21T12:00:00+00:00"


def job(schedule: str, **fields: object) -> job_pb2.Job:
    values = {"name": "n", "prompt": "Water the plants.", "agent": "plain", "time_zone": "UTC"}
    return job_pb2.Job(**{**values, "schedule": schedule, "catch_up_seconds": 3600, **fields})  # type: ignore[arg-type] # by name


def jobs_of(stack: Stack, clock: FakeClock) -> Jobs:
    return Jobs(stack.store, stack.supervisor, stack.new_id, clock=clock.now)


async def runs_of(stack: Stack, job_id: str) -> Sequence[run_pb2.Run]:
    return await stack.store.list_runs(TENANT, RunFilter(ascending=True, metadata={"job_id": job_id}))


async def fired(stack: Stack, job_id: str) -> list[str]:
    """The times for which the job was run."""
    return [run.spec.metadata["scheduled_time"] for run in await runs_of(stack, job_id)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def jobs(stack: Stack, clock: FakeClock) -> Jobs:
    return jobs_of(stack, clock)


async def test_a_firing_is_an_ordinary_run_of_its_own(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    made = await jobs.create(TENANT, job("every 30m"))
    assert made.next_run_time.ToJsonString() == "2026-11-21T12:30:00Z"
    clock.set("2026-11-21T12:30:02+00:00")
    assert await jobs.fire_due()
    (run,) = await runs_of(stack, made.id)
    assert (run.spec.agent, run.spec.durability, texts(run.input)) == (
        "plain",
        run_pb2.DURABILITY_LOGGED,
        ["Water the plants."],
    )
    now = await jobs.get(TENANT, made.id)
    assert (now.last_run_id, now.run_count, now.last_error) == (run.id, 1, "")
    assert now.last_run_time.ToJsonString() == "2026-11-21T12:30:02Z"
    assert now.next_run_time.ToJsonString() == "2026-11-21T13:00:00Z"


async def test_nothing_fires_twice_or_too_early(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    made = await jobs.create(TENANT, job("*/10 * * * *"))
    for time in ("12:09:59", "12:10:00", "12:10:00", "12:05:00", "12:10:30", "12:20:00"):
        clock.set(f"2026-11-21T{time}+00:00")
        await jobs.fire_due()
    assert await fired(stack, made.id) == ["2026-11-21T12:10:00Z", "2026-11-21T12:20:00Z"]


async def test_a_clock_that_is_set_forward_skips_what_is_too_old(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    hourly, daily = await jobs.create(TENANT, job("0 * * * *")), await jobs.create(TENANT, job("30 13 * * *"))
    clock.set("2026-11-25T17:05:00+00:00")
    await jobs.fire_due()
    assert await fired(stack, hourly.id) == ["2026-11-25T17:00:00Z"]
    assert await fired(stack, daily.id) == []
    skipped = await jobs.get(TENANT, daily.id)
    assert (skipped.last_error, skipped.next_run_time.ToJsonString()) == ("MISSED", "2026-11-26T13:30:00Z")


async def test_jobs_outlive_the_server_and_are_made_up_for_once(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path, PlainAgent("plain", TextDelta("done"))) as stack:
        made = await jobs_of(stack, clock).create(TENANT, job("*/10 * * * *"))
    clock.set("2026-11-21T12:45:00+00:00")
    for _ in range(2):
        async with running(tmp_path, PlainAgent("plain", TextDelta("done"))) as stack:
            await jobs_of(stack, clock).fire_due()
            assert await fired(stack, made.id) == ["2026-11-21T12:40:00Z"]


async def test_a_crash_between_the_run_and_the_note_of_it_doubles_nothing(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, PlainAgent("plain", TextDelta("done"))) as stack:
        jobs = jobs_of(stack, clock)
        made = await jobs.create(TENANT, job("every 1h"))
        clock.set("2026-11-21T13:00:00+00:00")

        async def lost(*_: object) -> None:
            raise Unavailable("STORE_UNAVAILABLE", "gone", 1)

        monkeypatch.setattr(stack.store, "put_job", lost)
        with pytest.raises(Unavailable):
            await jobs.fire_due()
    async with running(tmp_path, PlainAgent("plain", TextDelta("done"))) as stack:
        jobs = jobs_of(stack, clock)
        # The job was even changed meanwhile: the time has its run already.
        await jobs.change(TENANT, made.id, _renamed)
        await jobs.fire_due()
        assert await fired(stack, made.id) == ["2026-11-21T13:00:00Z"]
        now = await jobs.get(TENANT, made.id)
        assert (now.run_count, now.last_error, now.last_run_id) == (1, "", (await runs_of(stack, made.id))[0].id)


def _renamed(job: job_pb2.Job) -> bool:
    job.prompt = "Feed the cat."
    return False


async def test_a_job_ends_with_its_last_repeat(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    made = await jobs.create(TENANT, job("every 1h", repeat=2))
    for hour in (13, 14, 15):
        clock.set(f"2026-11-21T{hour}:00:00+00:00")
        await jobs.fire_due()
    assert len(await fired(stack, made.id)) == 2
    now = await jobs.get(TENANT, made.id)
    assert (now.state, now.enabled, now.HasField("next_run_time")) == (job_pb2.JOB_STATE_COMPLETED, False, False)
    for call in (jobs.pause, jobs.resume):
        with pytest.raises(FailedPrecondition):
            await call(TENANT, made.id)
    assert await jobs.next_time() is None


async def test_a_job_of_one_time_is_over_after_it(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    made = await jobs.create(TENANT, job("30m"))
    clock.set("2026-11-21T12:31:00+00:00")
    await jobs.fire_due()
    assert await fired(stack, made.id) == ["2026-11-21T12:30:00Z"]
    assert (await jobs.get(TENANT, made.id)).state == job_pb2.JOB_STATE_COMPLETED


async def test_a_paused_job_fires_when_it_is_resumed_and_not_for_what_was_between(
    stack: Stack, clock: FakeClock, jobs: Jobs
) -> None:
    made = await jobs.create(TENANT, job("0 * * * *"))
    paused = await jobs.pause(TENANT, made.id)
    assert (paused.state, paused.enabled) == (job_pb2.JOB_STATE_PAUSED, False)
    clock.set("2026-11-21T13:00:00+00:00")
    await jobs.fire_due()
    clock.set("2026-11-21T13:30:00+00:00")
    resumed = await jobs.resume(TENANT, made.id)
    assert (resumed.enabled, resumed.next_run_time.ToJsonString()) == (True, "2026-11-21T14:00:00Z")
    assert await fired(stack, made.id) == []


async def test_run_now_leaves_the_schedule_alone(stack: Stack, jobs: Jobs) -> None:
    made = await jobs.create(TENANT, job("0 * * * *", repeat=1))
    first = await jobs.run_now(TENANT, made.id, "mine")
    again = await jobs.run_now(TENANT, made.id, "mine")
    other = await jobs.run_now(TENANT, made.id, "")
    assert first.last_run_id == again.last_run_id != other.last_run_id
    assert (other.next_run_time, other.run_count) == (made.next_run_time, 0)
    assert len(await runs_of(stack, made.id)) == 2


async def test_a_firing_that_comes_to_no_run_says_why(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    made = await jobs.create(TENANT, job("0 * * * *", agent="gone"))
    clock.set("2026-11-21T13:00:00+00:00")
    assert await jobs.fire_due()
    now = await jobs.get(TENANT, made.id)
    assert (now.last_error, now.last_run_id, now.run_count) == ("AGENT_NOT_FOUND", "", 0)
    assert now.next_run_time.ToJsonString() == "2026-11-21T14:00:00Z"


async def test_a_full_server_fires_when_there_is_room(tmp_path: Path, clock: FakeClock) -> None:
    agent = ScriptedAgent()
    async with running(tmp_path, agent, PlainAgent("plain"), max_runs=1) as stack:
        jobs = jobs_of(stack, clock)
        made = await jobs.create(TENANT, job("0 * * * *"))
        busy = await stack.create()
        clock.set("2026-11-21T13:00:00+00:00")
        assert not await jobs.fire_due()
        agent.script(busy).end()
        await stack.settled(busy)
        clock.set("2026-11-21T13:00:05+00:00")
        assert await jobs.fire_due()
        assert await fired(stack, made.id) == ["2026-11-21T13:00:00Z"]


async def test_what_never_fires_is_refused(jobs: Jobs) -> None:
    for schedule_ in ("2020-01-01T00:00:00Z", "0 0 31 2 *", "nonsense"):
        with pytest.raises(InvalidRequest) as raised:
            await jobs.create(TENANT, job(schedule_))
        assert raised.value.field == "schedule"
    with pytest.raises(InvalidRequest) as raised:
        await jobs.create(TENANT, job("every 1h", time_zone="Nowhere"))
    assert raised.value.field == "time_zone"


async def test_jobs_belong_to_their_tenant(stack: Stack, clock: FakeClock, jobs: Jobs) -> None:
    made = await jobs.create("other", job("0 * * * *"))
    for call in (jobs.get, jobs.pause, jobs.resume, jobs.delete):
        with pytest.raises(NotFound):
            await call(TENANT, made.id)
    clock.set("2026-11-21T13:00:00+00:00")
    assert await stack.store.due_jobs(clock.now()) == [DueJob("other", made.id)]
    await jobs.fire_due()
    assert await runs_of(stack, made.id) == []
    fired_id = (await jobs.get("other", made.id)).last_run_id
    assert await stack.store.get_run("other", fired_id) is not None
    await jobs.delete("other", made.id)
    assert await jobs.next_time() is None


@asynccontextmanager
async def scheduled(jobs: Jobs, clock: FakeClock) -> AsyncIterator[None]:
    """The scheduler at work."""
    task = asyncio.create_task(schedule(jobs, clock))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_the_scheduler_waits_for_the_next_time_and_wakes_on_changes(
    stack: Stack, clock: FakeClock, jobs: Jobs
) -> None:
    async with scheduled(jobs, clock):
        assert await clock.waits.get() is None
        made = await jobs.create(TENANT, job("0 * * * *"))
        assert await clock.waits.get() == ns("2026-11-21T13:00:00+00:00")
        await jobs.create(TENANT, job("30m"))
        assert await clock.waits.get() == ns("2026-11-21T12:30:00+00:00")
        clock.set("2026-11-21T13:00:00+00:00")
        assert await clock.waits.get() == ns("2026-11-21T14:00:00+00:00")
        assert await fired(stack, made.id) == ["2026-11-21T13:00:00Z"]


async def test_the_scheduler_outlives_a_store_that_cannot_be_reached(
    stack: Stack, clock: FakeClock, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await jobs.create(TENANT, job("0 * * * *"))
    due_jobs = stack.store.due_jobs

    async def lost(now_ns: int) -> list[DueJob]:
        raise Unavailable("STORE_UNAVAILABLE", "gone", 1)

    monkeypatch.setattr(stack.store, "due_jobs", lost)
    clock.set("2026-11-21T13:00:00+00:00")
    async with scheduled(jobs, clock):
        assert await clock.waits.get() == ns("2026-11-21T13:00:05+00:00")
        monkeypatch.setattr(stack.store, "due_jobs", due_jobs)
        clock.set("2026-11-21T13:00:05+00:00")
        assert await clock.waits.get() == ns("2026-11-21T14:00:00+00:00")
    assert await fired(stack, made.id) == ["2026-11-21T13:00:00Z"]
