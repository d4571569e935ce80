"""JobService over a real channel."""

import asyncio
from typing import Any

import grpc
import pytest
from breezeway.v1 import job_pb2, job_service_pb2
from google.protobuf import struct_pb2

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.server import Stack

Create = job_service_pb2.CreateJobRequest
Delete = job_service_pb2.DeleteJobRequest
Get = job_service_pb2.GetJobRequest
List = job_service_pb2.ListJobsRequest
Pause = job_service_pb2.PauseJobRequest
Resume = job_service_pb2.ResumeJobRequest
Run = job_service_pb2.RunJobRequest
Update = job_service_pb2.UpdateJobRequest

JOB: dict[str, Any] = {"name": "plants", "schedule": "0 9 * * *", "prompt": "Water the plants.", "agent": "plain"}


async def created(client: Client, **fields: object) -> job_pb2.Job:
    return (await client.jobs.CreateJob(Create(**{**JOB, **fields}))).job


def skills(*names: str | float) -> struct_pb2.ListValue:
    value = struct_pb2.ListValue()
    value.extend(names)
    return value


async def test_a_job_is_created_with_its_defaults_and_read(client: Client) -> None:
    job = await created(client, skills=["gardening"])
    assert (job.name, job.schedule, job.prompt, job.agent) == tuple(JOB.values())
    assert (job.deliver, list(job.skills), job.time_zone, job.catch_up_seconds) == ("local", ["gardening"], "UTC", 3600)
    assert (job.state, job.enabled, job.HasField("repeat")) == (job_pb2.JOB_STATE_SCHEDULED, True, False)
    assert (await client.jobs.GetJob(Get(job_id=job.id))).job == job


async def test_jobs_are_listed_in_pages_and_disabled_ones_when_asked_for(client: Client) -> None:
    jobs = [await created(client, name=name) for name in "abc"]
    await client.jobs.PauseJob(Pause(job_id=jobs[1].id))
    assert [job.name for job in (await client.jobs.ListJobs(List())).jobs] == ["a", "c"]
    first = await client.jobs.ListJobs(List(include_disabled=True, page_size=2))
    assert [job.name for job in first.jobs] == ["a", "b"]
    rest = await client.jobs.ListJobs(List(include_disabled=True, page_token=first.next_page_token))
    assert [job.name for job in rest.jobs] == ["c"]
    assert not rest.next_page_token


async def test_an_update_changes_what_is_named_and_nothing_else(client: Client) -> None:
    job = await created(client, skills=["a"], repeat=3)
    expected = job_pb2.Job()
    expected.CopyFrom(job)
    changed = (await client.jobs.UpdateJob(Update(job_id=job.id, name="flowers", skills=skills()))).job
    expected.name = "flowers"
    del expected.skills[:]
    assert changed == expected
    moved = (await client.jobs.UpdateJob(Update(job_id=job.id, schedule="every 2h", time_zone="Asia/Tokyo"))).job
    assert (moved.schedule, moved.time_zone, moved.repeat) == ("every 2h", "Asia/Tokyo", 3)
    seconds = moved.next_run_time.ToSeconds() - moved.schedule_time.ToSeconds()
    assert seconds == 7200
    assert moved.schedule_time.ToNanoseconds() > job.schedule_time.ToNanoseconds()


async def test_pause_resume_run_and_delete(client: Client, stack: Stack) -> None:
    job = await created(client)
    assert not (await client.jobs.PauseJob(Pause(job_id=job.id))).job.HasField("next_run_time")
    ran = (await client.jobs.RunJob(Run(job_id=job.id))).job
    run = await stack.ended(ran.last_run_id)
    assert run.spec.metadata["job_id"] == job.id
    assert not ran.enabled
    assert (await client.jobs.ResumeJob(Resume(job_id=job.id))).job.enabled
    assert (await client.jobs.DeleteJob(Delete(job_id=job.id))).ok
    for call in (
        client.jobs.GetJob(Get(job_id=job.id)),
        client.jobs.UpdateJob(Update(job_id=job.id)),
        client.jobs.DeleteJob(Delete(job_id=job.id)),
        client.jobs.PauseJob(Pause(job_id=job.id)),
        client.jobs.ResumeJob(Resume(job_id=job.id)),
        client.jobs.RunJob(Run(job_id=job.id)),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert (await stack.get(run.id)).id == run.id


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"name": " "}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": "x" * 5001}, "prompt"),
    ({"schedule": ""}, "schedule"),
    ({"schedule": "soon"}, "schedule"),
    ({"schedule": "2020-01-01T00:00:00Z"}, "schedule"),
    ({"time_zone": "Nowhere/Town"}, "time_zone"),
    ({"repeat": 0}, "repeat"),
    ({"deliver": "telegram"}, "deliver"),
    ({"catch_up_seconds": 59}, "catch_up_seconds"),
    ({"catch_up_seconds": 86401}, "catch_up_seconds"),
]


@pytest.mark.parametrize(
    ("fields", "field"), [*FAULTS, ({"skills": ["ok", ""]}, "skills[1]"), ({"skills": ["x"] * 33}, "skills")]
)
async def test_a_job_that_cannot_be(client: Client, fields: dict[str, Any], field: str) -> None:
    refusal = await refused(client.jobs.CreateJob(Create(**{**JOB, **fields})))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert not (await client.jobs.ListJobs(List(include_disabled=True))).jobs


@pytest.mark.parametrize(("fields", "field"), [*FAULTS, ({"skills": skills("ok", 5)}, "skills[1]")])
async def test_a_change_that_cannot_be_changes_nothing(client: Client, fields: dict[str, Any], field: str) -> None:
    job = await created(client)
    refusal = await refused(client.jobs.UpdateJob(Update(job_id=job.id, **fields)))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert (await client.jobs.GetJob(Get(job_id=job.id))).job == job


async def test_an_agent_that_is_not_there(client: Client) -> None:
    for agent in ("nobody", ""):
        # Nor is there a default: this server has neither an assistant nor the demo.
        refusal = await refused(client.jobs.CreateJob(Create(**{**JOB, "agent": agent})))
        assert refusal.reason == "AGENT_NOT_FOUND"


async def test_a_page_that_cannot_be(client: Client) -> None:
    for query, field in ((List(page_size=-1), "page_size"), (List(page_token="x"), "page_token")):
        assert (await refused(client.jobs.ListJobs(query))).field == field


async def test_the_same_request_is_the_same_job(client: Client) -> None:
    made = await asyncio.gather(*(created(client, request_id="key") for _ in range(5)))
    assert [job == made[0] for job in made] == [True] * 5
    assert list((await client.jobs.ListJobs(List())).jobs) == made[:1]
    await client.jobs.UpdateJob(Update(job_id=made[0].id, name="flowers"))
    again = await created(client, request_id="key")
    assert (again.id, again.name) == (made[0].id, "flowers")
    refusal = await refused(client.jobs.CreateJob(Create(**{**JOB, "name": "other"}, request_id="key")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    refusal = await refused(client.jobs.CreateJob(Create(**JOB, request_id="x" * 256)))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
    await client.jobs.DeleteJob(Delete(job_id=made[0].id))
    assert (await created(client, request_id="key")).id != made[0].id


async def test_a_job_that_cannot_be_uses_up_no_request(client: Client) -> None:
    for call in (
        client.jobs.CreateJob(Create(**{**JOB, "schedule": "2020-01-01T00:00:00Z"}, request_id="key")),
        client.jobs.CreateJob(Create(**{**JOB, "agent": "nobody"}, request_id="key")),
    ):
        await refused(call)
    assert (await created(client, request_id="key")).id
