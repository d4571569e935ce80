"""JobService: runs on a schedule."""

import re

from breezeway.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from google.protobuf import struct_pb2

from breezeway_server.agents.registry import AgentRegistry
from breezeway_server.engine.admission import find_agent
from breezeway_server.errors import InvalidRequest, NotFound
from breezeway_server.jobs.jobs import Jobs
from breezeway_server.services import validation
from breezeway_server.services.caller import current_caller
from breezeway_server.services.context import Context
from breezeway_server.services.idempotency import request_of
from breezeway_server.store.base import Store

_DEFAULT_PAGE = 100
_DEFAULT_AGENTS = ("assistant", "demo")
_DEFAULT_CATCH_UP = 3600
_MOST_CATCH_UP = 86400
_LEAST_CATCH_UP = 60
_LOCAL = "local"
_MAX_SKILLS = 32
_MAX_NAME = 200
_MAX_PROMPT = 5000
_MAX_REQUEST_ID = 128
_JOB_ID = re.compile(r"job_[0-9a-f]{32}", re.ASCII)


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Validates and translates; `Jobs` does the work. A caller sees the jobs of agents that they see."""

    def __init__(self, jobs: Jobs, agents: AgentRegistry, store: Store) -> None:
        self._jobs = jobs
        self._agents = agents
        self._store = store

    async def CreateJob(
        self, request: job_service_pb2.CreateJobRequest, context: Context
    ) -> job_service_pb2.CreateJobResponse:
        """See job_service.proto."""
        repeatable = request_of(request)
        caller = current_caller()
        earlier = await self._jobs.created(caller.tenant, repeatable)
        # Looked at before the rest: the schedule may lie in the past by now. Who lacks its agent is told so below.
        if earlier is not None and caller.sees(earlier.agent):
            return job_service_pb2.CreateJobResponse(job=earlier)
        job = job_pb2.Job(
            name=_text(request.name, "name", _MAX_NAME),
            schedule=_text(request.schedule, "schedule", _MAX_NAME),
            prompt=_text(request.prompt, "prompt", _MAX_PROMPT),
            agent=self._agent(request.agent),
            deliver=_deliver(request.deliver),
            skills=[_skill(skill, index) for index, skill in enumerate(request.skills)],
            time_zone=request.time_zone or "UTC",
            catch_up_seconds=_DEFAULT_CATCH_UP,
        )
        _check_skills(len(job.skills))
        if request.HasField("repeat"):
            job.repeat = _number(request.repeat, "repeat", 1, 2**31 - 1)
        if request.HasField("catch_up_seconds"):
            job.catch_up_seconds = _catch_up(request.catch_up_seconds)
        return job_service_pb2.CreateJobResponse(job=await self._jobs.create(caller.tenant, job, repeatable))

    async def ListJobs(
        self, request: job_service_pb2.ListJobsRequest, context: Context
    ) -> job_service_pb2.ListJobsResponse:
        """See job_service.proto."""
        size = validation.page_size(request.page_size, _DEFAULT_PAGE)
        # A page token is the id of the page's last job.
        if request.page_token and not _JOB_ID.fullmatch(request.page_token):
            raise InvalidRequest("page_token", "page_token is none that ListJobs gave.")
        caller = current_caller()
        found = await self._store.list_jobs(
            caller.tenant, request.page_token, size + 1, include_disabled=request.include_disabled
        )
        token = found[size - 1].id if len(found) > size else ""
        shown = [job for job in found[:size] if caller.sees(job.agent)]
        return job_service_pb2.ListJobsResponse(jobs=shown, next_page_token=token)

    async def GetJob(self, request: job_service_pb2.GetJobRequest, context: Context) -> job_service_pb2.GetJobResponse:
        """See job_service.proto."""
        return job_service_pb2.GetJobResponse(job=await self._job(request.job_id))

    async def UpdateJob(
        self, request: job_service_pb2.UpdateJobRequest, context: Context
    ) -> job_service_pb2.UpdateJobResponse:
        """See job_service.proto."""
        await self._job(request.job_id)
        job = await self._jobs.change(current_caller().tenant, request.job_id, lambda job: self._apply(request, job))
        return job_service_pb2.UpdateJobResponse(job=job)

    def _apply(self, request: job_service_pb2.UpdateJobRequest, job: job_pb2.Job) -> bool:
        if request.HasField("name"):
            job.name = _text(request.name, "name", _MAX_NAME)
        if request.HasField("prompt"):
            job.prompt = _text(request.prompt, "prompt", _MAX_PROMPT)
        if request.HasField("agent"):
            job.agent = self._agent(request.agent)
        if request.HasField("deliver"):
            job.deliver = _deliver(request.deliver)
        if request.HasField("skills"):
            skills = _skills(request.skills)
            del job.skills[:]
            job.skills.extend(skills)
        if request.HasField("catch_up_seconds"):
            job.catch_up_seconds = _catch_up(request.catch_up_seconds)
        if request.HasField("schedule"):
            job.schedule = _text(request.schedule, "schedule", _MAX_NAME)
        if request.HasField("time_zone"):
            job.time_zone = request.time_zone or "UTC"
        if request.HasField("repeat"):
            starts_anew = request.HasField("schedule") and job.state == job_pb2.JOB_STATE_COMPLETED
            least = 1 if starts_anew else job.run_count + 1
            job.repeat = _number(request.repeat, "repeat", least, 2**31 - 1)
        # A completed job needs a schedule to go on; another time zone alone gives it no time.
        completed = job.state == job_pb2.JOB_STATE_COMPLETED
        return request.HasField("schedule") or (request.HasField("time_zone") and not completed)

    async def DeleteJob(
        self, request: job_service_pb2.DeleteJobRequest, context: Context
    ) -> job_service_pb2.DeleteJobResponse:
        """See job_service.proto."""
        await self._job(request.job_id)
        await self._jobs.delete(current_caller().tenant, request.job_id)
        return job_service_pb2.DeleteJobResponse(ok=True)

    async def PauseJob(
        self, request: job_service_pb2.PauseJobRequest, context: Context
    ) -> job_service_pb2.PauseJobResponse:
        """See job_service.proto."""
        await self._job(request.job_id)
        return job_service_pb2.PauseJobResponse(job=await self._jobs.pause(current_caller().tenant, request.job_id))

    async def ResumeJob(
        self, request: job_service_pb2.ResumeJobRequest, context: Context
    ) -> job_service_pb2.ResumeJobResponse:
        """See job_service.proto."""
        await self._job(request.job_id)
        return job_service_pb2.ResumeJobResponse(job=await self._jobs.resume(current_caller().tenant, request.job_id))

    async def RunJob(self, request: job_service_pb2.RunJobRequest, context: Context) -> job_service_pb2.RunJobResponse:
        """See job_service.proto."""
        if len(request.request_id) > _MAX_REQUEST_ID:
            raise InvalidRequest("request_id", f"request_id may have {_MAX_REQUEST_ID} characters.")
        await self._job(request.job_id)
        caller = current_caller()
        job = await self._jobs.run_now(
            caller.tenant, request.job_id, request.request_id, agents=caller.agents, allowance=caller.allowance
        )
        return job_service_pb2.RunJobResponse(job=job)

    async def _job(self, job_id: str) -> job_pb2.Job:
        caller = current_caller()
        job = await self._jobs.get(caller.tenant, job_id)
        if not caller.sees(job.agent):
            raise NotFound("JOB_NOT_FOUND", f"There is no job {job_id[:64]!r}.")
        return job

    def _agent(self, name: str) -> str:
        """Return the name of the agent, or of that which is run where none is named."""
        if not name:
            name = next((each for each in _DEFAULT_AGENTS if self._agents.get(each) is not None), _DEFAULT_AGENTS[0])
        return find_agent(self._agents, name, current_caller().agents).info.name


def _text(text: str, field: str, limit: int) -> str:
    if not text.strip():
        raise InvalidRequest(field, f"{field} is missing.")
    if len(text) > limit:
        raise InvalidRequest(field, f"{field} has {len(text)} characters; it may have {limit}.")
    return text


def _number(number: int, field: str, least: int, most: int) -> int:
    if not least <= number <= most:
        raise InvalidRequest(field, f"{field} is {number}; it must lie between {least} and {most}.")
    return number


def _catch_up(seconds: int) -> int:
    return _number(seconds, "catch_up_seconds", _LEAST_CATCH_UP, _MOST_CATCH_UP)


def _deliver(where: str) -> str:
    if where not in {"", _LOCAL}:
        raise InvalidRequest("deliver", f"deliver {where[:64]!r} is not there; leave it out, or say {_LOCAL!r}.")
    return _LOCAL


def _skills(given: struct_pb2.ListValue) -> list[str]:
    _check_skills(len(given.values))
    for index, value in enumerate(given.values):
        if value.WhichOneof("kind") != "string_value":
            raise InvalidRequest(f"skills[{index}]", f"skills[{index}] must be a string.")
    return [_skill(value.string_value, index) for index, value in enumerate(given.values)]


def _check_skills(count: int) -> None:
    if count > _MAX_SKILLS:
        raise InvalidRequest("skills", f"skills has {count} names; it may have {_MAX_SKILLS}.")


def _skill(name: str, index: int) -> str:
    return _text(name, f"skills[{index}]", _MAX_NAME)
