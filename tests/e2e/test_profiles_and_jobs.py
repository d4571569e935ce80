"""Profiles and jobs over HTTP, on a running system and over its restart."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.model_server import ModelServer, answer
from tests.support.system import ReservedPort, System

KEY = "a key of thirty-two characters, or more"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    """A system of the test's own, which keeps secrets."""
    with System.serving(tmp_path, environ={"BREEZEWAY_SECRET_KEY": KEY}) as system:
        yield system


@pytest.fixture
async def http(own: System) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(own.url) as session:
        yield session


async def asked(http: aiohttp.ClientSession, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """The status and the JSON of an answer."""
    async with http.request(method, path, json=body) as reply:
        return reply.status, await reply.json()


async def models(http: aiohttp.ClientSession) -> list[str]:
    return [model["id"] for model in (await asked(http, "GET", "/v1/models"))[1]["data"]]


async def test_a_profile_is_a_model_at_once_and_after_a_restart(
    own: System, http: aiohttp.ClientSession, upstream: ReservedPort, model: ModelServer
) -> None:
    config = {"kind": "llm", "model": "m", "base_url": f"http://127.0.0.1:{upstream.number}/v1", "retries": 3}
    status, created = await asked(http, "POST", "/api/profiles/helper", {"config": {**config, "api_key": "k3y-secret"}})
    assert (status, created["profile"]["config"]) == (200, config)
    assert created["profile"]["secretKeys"] == ["api_key"]
    ask = {"model": "helper", "messages": [{"role": "user", "content": "Hi"}]}
    for restarted in (False, True):
        if restarted:
            assert own.terminate() == 0
            own.start()
        assert "helper" in await models(http)
        model.enqueue(answer("Hello"))
        status, said = await asked(http, "POST", "/v1/chat/completions", ask)
        assert (status, said["choices"][0]["message"]["content"]) == (200, "Hello")
        assert model.requests[-1].headers["Authorization"] == "Bearer k3y-secret"
    status, listed = await asked(http, "GET", "/api/profiles")
    assert [profile["name"] for profile in listed["profiles"]] == ["helper"]
    assert "k3y-secret" not in str(listed) + own.output.text
    status, refused = await asked(http, "PATCH", "/api/profiles/helper", {"config": {"colour": "red"}})
    assert (status, refused["details"][1]["fieldViolations"][0]["field"]) == (400, "config.colour")
    assert (await asked(http, "DELETE", "/api/profiles/helper")) == (200, {})
    assert "helper" not in await models(http)
    status, refused = await asked(http, "POST", "/v1/chat/completions", ask)
    assert (status, refused["error"]["code"]) == (404, "model_not_found")


async def test_jobs_have_the_shapes_that_their_callers_know(http: aiohttp.ClientSession) -> None:
    body = {
        "name": "plants",
        "schedule": "0 9 * * *",
        "prompt": "Water the plants.",
        "deliver": "local",
        "skills": ["gardening"],
        "repeat": 3,
        "time_zone": "Europe/Berlin",
        "catch_up_seconds": 600,
    }
    status, created = await asked(http, "POST", "/api/jobs", body)
    job = created["job"]
    assert (status, created) == (200, {"job": {**job, **body, "agent": "demo", "enabled": True}})
    assert {"id", "next_run_time", "create_time", "run_count", "last_run_id"} <= set(job)
    path = f"/api/jobs/{job['id']}"
    assert await asked(http, "GET", path) == (200, {"job": job})
    assert await asked(http, "PATCH", path, {"name": "flowers", "skills": []}) == (
        200,
        {"job": {**job, "name": "flowers", "skills": []}},
    )
    assert (await asked(http, "POST", f"{path}/pause"))[1]["job"]["enabled"] is False
    assert (await asked(http, "GET", "/api/jobs"))[1]["jobs"] == []
    assert len((await asked(http, "GET", "/api/jobs?include_disabled=true"))[1]["jobs"]) == 1
    assert (await asked(http, "POST", f"{path}/resume"))[1]["job"]["enabled"] is True
    status, ran = await asked(http, "POST", f"{path}/run", {})
    run_id = ran["job"]["last_run_id"]
    status, run = await asked(http, "GET", f"/api/runs/{run_id}")
    assert (status, run["run"]["spec"]["metadata"]["job_id"]) == (200, job["id"])
    assert await asked(http, "DELETE", path) == (200, {"ok": True})
    status, gone = await asked(http, "GET", path)
    assert (status, gone["code"]) == (404, 5)


@pytest.mark.parametrize(
    ("path", "name", "body", "other"),
    [
        (
            "/api/profiles",
            "profile",
            {
                "name": "helper",
                "config": {"kind": "llm", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key": "k"},
            },
            {"config": {"kind": "llm", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key": "l"}},
        ),
        (
            "/api/jobs",
            "job",
            {"name": "plants", "schedule": "every 2h", "prompt": "Water the plants."},
            {"prompt": "Water the flowers."},
        ),
    ],
)
async def test_a_creation_that_is_repeated_is_the_same_also_after_a_restart(
    own: System, path: str, name: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    async def create(changed: dict[str, Any]) -> tuple[int, Any]:
        # A connection of its own each time: the one before went with its system.
        async with (
            aiohttp.ClientSession(own.url) as session,
            session.post(path, json=body | changed, headers={"Idempotency-Key": "once"}) as reply,
        ):
            return reply.status, await reply.json()

    status, made = await create({})
    assert (status, list(made)) == (200, [name])
    for restarted in (False, True):
        if restarted:
            own.kill()
            own.start()
        assert await create({}) == (200, made)
        status, refused = await create(other)
        assert (status, refused["details"][0]["reason"]) == (409, "REQUEST_ID_REUSED")
