"""The rows of jobs: runs on a schedule."""

from breezeway.v1 import job_pb2
from sqlalchemy import Connection, delete, func, insert, select, update

from breezeway_server.store import request_rows
from breezeway_server.store.base import DueJob, Request
from breezeway_server.store.schema import job_requests, jobs


def put(connection: Connection, tenant: str, job: job_pb2.Job, request: Request | None) -> None:
    """Keep the job, in place of one of that id."""
    values = {
        "tenant": tenant,
        "enabled": job.enabled,
        "next_time_ns": job.next_run_time.ToNanoseconds() if job.HasField("next_run_time") else None,
        "job": job.SerializeToString(),
    }
    # Changed in place, because its request id goes with its row.
    if connection.execute(update(jobs).where(jobs.c.id == job.id).values(values)).rowcount == 0:
        connection.execute(insert(jobs).values(id=job.id, **values))
    if request is not None:
        request_rows.remember(connection, job_requests, tenant, request, job_id=job.id)


def created(connection: Connection, tenant: str, request: Request) -> job_pb2.Job | None:
    """Return the job that the request id made before. Raises `RequestIdReused`."""
    earlier = request_rows.find(connection, job_requests, tenant, request)
    return None if earlier is None else get(connection, tenant, earlier.job_id)


def get(connection: Connection, tenant: str, job_id: str) -> job_pb2.Job | None:
    """Return the job."""
    row = connection.execute(select(jobs.c.job).where(jobs.c.tenant == tenant, jobs.c.id == job_id)).first()
    return None if row is None else job_pb2.Job.FromString(row.job)


def list_(
    connection: Connection, tenant: str, after_id: str, limit: int, *, include_disabled: bool
) -> list[job_pb2.Job]:
    """Return jobs by id, which is by time."""
    query = select(jobs.c.job).where(jobs.c.tenant == tenant, jobs.c.id > after_id).order_by(jobs.c.id).limit(limit)
    if not include_disabled:
        query = query.where(jobs.c.enabled)
    return [job_pb2.Job.FromString(job) for job in connection.scalars(query)]


def delete_(connection: Connection, tenant: str, job_id: str) -> bool:
    """Delete the job."""
    return connection.execute(delete(jobs).where(jobs.c.tenant == tenant, jobs.c.id == job_id)).rowcount > 0


def due(connection: Connection, now_ns: int) -> list[DueJob]:
    """Return the jobs whose time has come, the earliest first."""
    query = select(jobs.c.tenant, jobs.c.id).where(jobs.c.next_time_ns <= now_ns).order_by(jobs.c.next_time_ns)
    return [DueJob(*row) for row in connection.execute(query)]


def next_time(connection: Connection) -> int | None:
    """Return when the next job fires."""
    earliest: int | None = connection.scalar(select(func.min(jobs.c.next_time_ns)))
    return earliest
