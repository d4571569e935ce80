"""Profiles and jobs in a store."""

import pytest
from breezeway.v1 import job_pb2
from breezeway_server.errors import RequestIdReused
from breezeway_server.store.base import DueJob, Request, Store, StoredProfile


def profile(name: str, secrets: bytes | None = None) -> StoredProfile:
    return StoredProfile(
        name=name,
        config={"kind": "llm", "sampling": {"seed": 2**53, "top_p": 0.5}, "aliases": ["ä"]},
        secret_keys=("api_key",) if secrets else (),
        secrets=secrets,
        create_time_ns=1,
        update_time_ns=2,
    )


def job(job_id: str, *, next_ns: int | None, enabled: bool = True) -> job_pb2.Job:
    made = job_pb2.Job(id=job_id, name=job_id, enabled=enabled)
    if next_ns is not None:
        made.next_run_time.FromNanoseconds(next_ns)
    return made


async def test_profiles_are_kept_replaced_and_forgotten(store: Store) -> None:
    for each in (profile("b"), profile("a", b"\0\xff"), profile("b", b"x")):
        await store.put_profile(each)
    assert await store.list_profiles() == [profile("a", b"\0\xff"), profile("b", b"x")]
    await store.delete_profile("b")
    await store.delete_profile("nobody")
    assert await store.list_profiles() == [profile("a", b"\0\xff")]


async def test_jobs_are_kept_replaced_and_deleted_within_their_tenant(store: Store) -> None:
    first, second = job("job_1", next_ns=5), job("job_2", next_ns=None, enabled=False)
    for each in (second, first):
        await store.put_job("t", each)
    assert await store.get_job("t", "job_1") == first
    assert await store.get_job("other", "job_1") is None
    assert await store.list_jobs("t", "", 10, include_disabled=True) == [first, second]
    assert await store.list_jobs("t", "job_1", 10, include_disabled=True) == [second]
    assert await store.list_jobs("t", "", 10, include_disabled=False) == [first]
    assert await store.list_jobs("t", "", 1, include_disabled=True) == [first]
    assert await store.list_jobs("other", "", 10, include_disabled=True) == []
    first.name = "changed"
    await store.put_job("t", first)
    assert await store.get_job("t", "job_1") == first
    assert not await store.delete_job("other", "job_1")
    assert await store.delete_job("t", "job_1")
    assert not await store.delete_job("t", "job_1")


async def test_what_is_due_comes_in_the_order_of_its_times(store: Store) -> None:
    assert await store.next_job_time() is None
    for tenant, each in (
        ("t", job("job_1", next_ns=30)),
        ("u", job("job_2", next_ns=10)),
        ("t", job("job_3", next_ns=31)),
        ("t", job("job_4", next_ns=None)),
    ):
        await store.put_job(tenant, each)
    assert await store.next_job_time() == 10
    assert await store.due_jobs(9) == []
    assert await store.due_jobs(30) == [DueJob("u", "job_2"), DueJob("t", "job_1")]


def request(name: str = "key", body: bytes = b"body", created: int = 1) -> Request:
    return Request(name, body, created)


async def test_a_request_names_its_job_over_all_changes_and_goes_with_it(store: Store) -> None:
    made = job("job_1", next_ns=5)
    assert await store.find_created_job("t", request()) is None
    await store.put_job("t", made, request())
    assert await store.find_created_job("t", request()) == made
    assert await store.find_created_job("other", request()) is None
    with pytest.raises(RequestIdReused):
        await store.find_created_job("t", request(body=b"other"))
    made.name = "changed"
    await store.put_job("t", made)
    assert await store.find_created_job("t", request()) == made
    await store.delete_job("t", "job_1")
    assert await store.find_created_job("t", request(body=b"other")) is None


async def test_a_request_names_its_profile_over_all_changes_and_goes_with_it(store: Store) -> None:
    await store.put_profile(profile("a"), tenant="t", request=request())
    assert await store.find_created_profile("t", request()) == "a"
    assert await store.find_created_profile("other", request()) is None
    with pytest.raises(RequestIdReused):
        await store.find_created_profile("t", request(body=b"other"))
    await store.put_profile(profile("a", b"x"))
    assert await store.find_created_profile("t", request()) == "a"
    await store.delete_profile("a")
    assert await store.find_created_profile("t", request()) is None


async def test_requests_of_jobs_and_profiles_are_forgotten_in_time(store: Store) -> None:
    for number in range(2):
        await store.put_job("t", job(f"job_{number}", next_ns=None), request(f"r{number}", created=number))
        await store.put_profile(profile(f"p{number}"), tenant="t", request=request(f"r{number}", created=number))
    assert await store.expire(ended_before_ns=0, requested_before_ns=0, limit=10) == 0
    assert await store.expire(ended_before_ns=0, requested_before_ns=1, limit=10) == 2
    jobs = [await store.find_created_job("t", request(f"r{number}")) is not None for number in range(2)]
    profiles = [await store.find_created_profile("t", request(f"r{number}")) is not None for number in range(2)]
    assert jobs == profiles == [False, True]
    assert await store.get_job("t", "job_0") is not None
