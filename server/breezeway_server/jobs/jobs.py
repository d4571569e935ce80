"""The jobs of a server: kept in the store, fired as ordinary runs."""

import asyncio
from collections.abc import Callable, Collection

import structlog
from breezeway.v1 import item_pb2, job_pb2, run_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from breezeway_server.engine.quota import UNLIMITED, Allowance
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import (
    BreezewayError,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    TooManyRuns,
    Unavailable,
)
from breezeway_server.events.ids import Uuid7
from breezeway_server.jobs.firing import firing
from breezeway_server.jobs.metrics import JobMetrics
from breezeway_server.jobs.schedule import After, ScheduleError, parse_schedule, parse_zone
from breezeway_server.store.base import DueJob, Request, Store

_logger = structlog.get_logger()

_SECOND = 1_000_000_000
# The request id alone says which run it is: a job that was changed meanwhile does not fire twice for one time.
_REQUEST_HASH = b"job"
_MISSED = "MISSED"

Change = Callable[[job_pb2.Job], bool]
"""Changes a job, and returns whether its schedule was set anew."""


class Jobs:
    """Creates, changes and fires jobs. One change is made at a time, so that none gets lost in another."""

    def __init__(
        self,
        store: Store,
        supervisor: Supervisor,
        new_id: Uuid7,
        *,
        clock: Callable[[], int],
        metrics: JobMetrics | None = None,
    ) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._metrics = metrics or JobMetrics()
        self._store = store
        self._supervisor = supervisor
        self._new_id = new_id
        self._clock = clock
        self._lock = asyncio.Lock()
        self.changed = asyncio.Event()
        """Set whenever the next time to fire may be another."""

    async def created(self, tenant: str, request: Request | None) -> job_pb2.Job | None:
        """Return the job that the request made before. Raises `RequestIdReused`."""
        return None if request is None else await self._store.find_created_job(tenant, request)

    async def create(self, tenant: str, job: job_pb2.Job, request: Request | None = None) -> job_pb2.Job:
        """Keep a new job, whose own fields are set, and return it; or the one that the request made before.

        Raises `InvalidRequest` where its schedule never fires, and `RequestIdReused`.
        """
        # A repeat must not come in between.
        async with self._lock:
            if (earlier := await self.created(tenant, request)) is not None:
                return earlier
            now = self._clock()
            job.id = f"job_{self._new_id()}"
            job.create_time.FromNanoseconds(now)
            job.state = job_pb2.JOB_STATE_SCHEDULED
            self._set_schedule(job, now)
            return await self._put(tenant, job, request)

    async def get(self, tenant: str, job_id: str) -> job_pb2.Job:
        """Return a job. Raises `NotFound`."""
        job = await self._store.get_job(tenant, job_id)
        if job is None:
            raise NotFound("JOB_NOT_FOUND", f"There is no job {job_id[:64]!r}.")
        return job

    async def change(self, tenant: str, job_id: str, change: Change) -> job_pb2.Job:
        """Change a job. Raises `NotFound`, and what `change` raises, which then changes nothing."""
        async with self._lock:
            job = await self.get(tenant, job_id)
            if change(job):
                if job.state == job_pb2.JOB_STATE_COMPLETED:
                    job.state = job_pb2.JOB_STATE_SCHEDULED
                    job.run_count = 0
                self._set_schedule(job, self._clock())
            return await self._put(tenant, job)

    async def pause(self, tenant: str, job_id: str) -> job_pb2.Job:
        """Stop a job's firings. Raises `NotFound`, and `FailedPrecondition` where it has none left."""

        def stop(job: job_pb2.Job) -> bool:
            _check_not_completed(job)
            job.state = job_pb2.JOB_STATE_PAUSED
            _plan(job, None)
            return False

        return await self.change(tenant, job_id, stop)

    async def resume(self, tenant: str, job_id: str) -> job_pb2.Job:
        """Have a paused job fire again. Raises `NotFound`, and `FailedPrecondition` where it has no time left."""

        def start(job: job_pb2.Job) -> bool:
            _check_not_completed(job)
            if job.state == job_pb2.JOB_STATE_PAUSED:
                next_ns = _after(job)(self._clock())
                if next_ns is None:
                    raise _completed(job)
                job.state = job_pb2.JOB_STATE_SCHEDULED
                _plan(job, next_ns)
            return False

        return await self.change(tenant, job_id, start)

    async def delete(self, tenant: str, job_id: str) -> None:
        """Delete a job. Raises `NotFound`."""
        async with self._lock:
            await self.get(tenant, job_id)
            await self._store.delete_job(tenant, job_id)

    async def run_now(
        self,
        tenant: str,
        job_id: str,
        request_id: str,
        *,
        agents: Collection[str] = (),
        allowance: Allowance = UNLIMITED,
    ) -> job_pb2.Job:
        """Run a job, whatever its schedule; `allowance` pays. Raises `NotFound`, and as `CreateRun` does."""
        async with self._lock:
            job = await self.get(tenant, job_id)
            now = self._clock()
            firing_id = f"now:{request_id or self._new_id()}"
            job.last_run_id = await self._start(tenant, job, firing_id, now, agents=agents, allowance=allowance)
            job.last_run_time.FromNanoseconds(now)
            job.last_error = ""
            return await self._put(tenant, job)

    async def next_time(self) -> int | None:
        """Return when the next job is due, which may be past; None where there is none."""
        return await self._store.next_job_time()

    async def fire_due(self) -> bool:
        """Fire all jobs whose time has come; return False where one has to be tried again soon.

        Raises `Unavailable` where the store cannot be reached.
        """
        return all([await self._fire(due) for due in await self._store.due_jobs(self._clock())])

    async def _fire(self, due: DueJob) -> bool:
        async with self._lock:
            job = await self._store.get_job(due.tenant, due.job_id)
            now = self._clock()
            if job is None or not job.enabled or job.next_run_time.ToNanoseconds() > now:
                return True  # Somebody changed it meanwhile.
            planned = job.next_run_time.ToNanoseconds()
            due_ns, next_ns = firing(_after(job), planned, now, job.catch_up_seconds * _SECOND)
            if due_ns is None:
                job.last_error = _MISSED
                self._metrics.missed.inc()
                _logger.warning("job_missed", job_id=job.id, planned=job.next_run_time.ToJsonString())
            elif not await self._start_due(due.tenant, job, due_ns, now):
                return False
            # A crash before this finds the same firing due again, and its request id finds the same run.
            _plan(job, next_ns)
            if next_ns is None or (job.HasField("repeat") and job.run_count >= job.repeat):
                job.state = job_pb2.JOB_STATE_COMPLETED
                _plan(job, None)
            await self._put(due.tenant, job)
            return True

    async def _start_due(self, tenant: str, job: job_pb2.Job, due_ns: int, now: int) -> bool:
        """Start the run of a firing and note how that went; return False where it has to be tried again."""
        at = Timestamp()
        at.FromNanoseconds(due_ns)
        try:
            job.last_run_id = await self._start(tenant, job, at.ToJsonString(), due_ns)
        except (TooManyRuns, Unavailable) as error:
            _logger.warning("job_put_off", job_id=job.id, reason=error.reason)
            self._metrics.put_off.inc()
            return False
        except BreezewayError as error:
            _logger.warning("job_failed", job_id=job.id, reason=error.reason)
            self._metrics.refused.inc()
            job.last_run_id, job.last_error = "", error.reason
        else:
            job.last_error = ""
            job.run_count += 1
            self._metrics.started.inc()
        job.last_run_time.FromNanoseconds(now)
        return True

    async def _start(
        self,
        tenant: str,
        job: job_pb2.Job,
        firing_id: str,
        at_ns: int,
        *,
        agents: Collection[str] = (),
        allowance: Allowance = UNLIMITED,
    ) -> str:
        """Have a run accepted and stored; return its id, which is the same for the same firing."""
        at = Timestamp()
        at.FromNanoseconds(at_ns)
        spec = run_pb2.RunSpec(
            agent=job.agent,
            durability=run_pb2.DURABILITY_LOGGED,
            dialect="jobs",
            metadata={"job_id": job.id, "scheduled_time": at.ToJsonString()},
        )
        part = item_pb2.ContentPart(text=item_pb2.Text(text=job.prompt))
        said = item_pb2.Item(message=item_pb2.Message(role=item_pb2.ROLE_USER, content=[part]))
        run_id = await self._supervisor.intake.create(
            tenant,
            spec,
            [said],
            request_id=f"job:{job.id}:{firing_id}",
            request_hash=_REQUEST_HASH,
            agents=agents,
            allowance=allowance,
        )
        # The run must be in the store before the job says so.
        await self._supervisor.get(tenant, run_id)
        return run_id

    def _set_schedule(self, job: job_pb2.Job, now: int) -> None:
        job.schedule_time.FromNanoseconds(now)
        next_ns = _after(job)(now)
        if next_ns is None:
            raise InvalidRequest("schedule", f"schedule {job.schedule!r} lies in the past, or never fires.")
        _plan(job, next_ns if job.state == job_pb2.JOB_STATE_SCHEDULED else None)

    async def _put(self, tenant: str, job: job_pb2.Job, request: Request | None = None) -> job_pb2.Job:
        job.enabled = job.state == job_pb2.JOB_STATE_SCHEDULED
        await self._store.put_job(tenant, job, request)
        self.changed.set()
        return job


def _after(job: job_pb2.Job) -> After:
    """Return when a job fires. Raises `InvalidRequest` where its schedule or time zone is none."""
    try:
        zone = parse_zone(job.time_zone)
    except ScheduleError as error:
        raise InvalidRequest("time_zone", f"time_zone: {error}.") from error
    try:
        return parse_schedule(job.schedule, zone, job.schedule_time.ToNanoseconds())
    except ScheduleError as error:
        raise InvalidRequest("schedule", f"schedule {error}.") from error


def _plan(job: job_pb2.Job, next_ns: int | None) -> None:
    job.ClearField("next_run_time")
    if next_ns is not None:
        job.next_run_time.FromNanoseconds(next_ns)


def _check_not_completed(job: job_pb2.Job) -> None:
    if job.state == job_pb2.JOB_STATE_COMPLETED:
        raise _completed(job)


def _completed(job: job_pb2.Job) -> FailedPrecondition:
    return FailedPrecondition("JOB_COMPLETED", f"{job.id} has no time left to fire at; give it a new schedule.")
