"""Schedules, and what is due of them."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from breezeway_server.jobs.firing import firing
from breezeway_server.jobs.schedule import ScheduleError, parse_schedule, parse_zone
from hypothesis import given
from hypothesis import strategies as st

from tests.server.jobs.clock import ns

SET = "2026-11-21T12:00:10+00:00"
HOUR = 3600 * 1_000_000_000


def times(text: str, zone: str, start: str, count: int) -> list[str]:
    after = parse_schedule(text, parse_zone(zone), ns(start))
    found: list[str] = []
    at = after(ns(start))
    while at is not None and len(found) < count:
        found.append(datetime.fromtimestamp(at / 1e9, UTC).astimezone(parse_zone(zone)).isoformat())
        at = after(at)
    return found


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("0 9 * * 1-5", "UTC", ["2026-11-23T09:00:00+00:00", "2026-11-24T09:00:00+00:00"]),
        ("*/30 * * * *", "Asia/Kolkata", ["2026-11-21T18:00:00+05:30", "2026-11-21T18:30:00+05:30"]),
        ("every 2h", "UTC", ["2026-11-21T14:00:10+00:00", "2026-11-21T16:00:10+00:00"]),
        ("Every 1d", "UTC", ["2026-11-22T12:00:10+00:00", "2026-11-23T12:00:10+00:00"]),
        ("30m", "UTC", ["2026-11-21T12:30:10+00:00"]),
        ("2027-01-31T09:00:00", "Europe/Berlin", ["2027-01-31T09:00:00+01:00"]),
        ("2027-01-31T09:00:00Z", "Europe/Berlin", ["2027-01-31T10:00:00+01:00"]),
        ("2026-11-21T12:00:00Z", "UTC", []),
        ("0 0 30 2 1", "UTC", ["2027-02-01T00:00:00+00:00", "2027-02-08T00:00:00+00:00"]),
    ],
)
def test_a_schedule_fires_at_its_times(text: str, zone: str, expected: list[str]) -> None:
    assert times(text, zone, SET, 2) == expected


def test_a_time_that_summer_time_leaves_out_fires_right_after_the_gap() -> None:
    found = times("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00+01:00", 2)
    assert found == ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"]


@pytest.mark.parametrize("start", ["2026-10-25T00:00:00+02:00", "2026-10-25T02:10:00+02:00"])
def test_a_time_that_comes_twice_fires_once(start: str) -> None:
    found = times("30 2 * * *", "Europe/Berlin", start, 2)
    assert found == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_who_asks_in_the_second_pass_of_an_hour_gets_no_time_of_the_first() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", 1) == ["2026-10-26T02:30:00+01:00"]


def test_hourly_jobs_fire_in_both_passes_of_an_hour() -> None:
    found = times("0 * * * *", "Europe/Berlin", "2026-10-25T01:30:00+02:00", 3)
    assert found == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]


@pytest.mark.parametrize("text", ["", "soon", "30s", "every 0m", "9999d", "* * * *", "* * * * * *", "61 * * * *"])
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(text, parse_zone("UTC"), 0)


@pytest.mark.parametrize("name", ["", "Nowhere/Town", "../etc/passwd", "/etc/passwd", "x" * 1000, "Europe"])
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(ScheduleError):
        parse_zone(name)


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 */5 * * *", "15 1,2,3 * * 0", "every 25m"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"]),
    st.integers(1_700_000_000, 1_900_000_000),
)
def test_times_go_forward_and_asking_in_between_changes_nothing(text: str, zone: str, start: int) -> None:
    after = parse_schedule(text, parse_zone(zone), 0)
    found = [start * 1_000_000_000]
    for _ in range(6):
        at = after(found[-1])
        assert at is not None
        found.append(at)
    for before, at in pairwise(found):
        assert before < at
        assert after(at - 1) == at
        assert after((before + at) // 2) == at


def test_of_several_missed_times_the_newest_is_made_up_for() -> None:
    after = parse_schedule("*/10 * * * *", parse_zone("UTC"), 0)
    planned, now = ns("2026-11-21T12:00:00+00:00"), ns("2026-11-21T15:05:00+00:00")
    assert firing(after, planned, now, HOUR) == (ns("2026-11-21T15:00:00+00:00"), ns("2026-11-21T15:10:00+00:00"))


def test_what_was_missed_by_too_much_is_skipped() -> None:
    after = parse_schedule("0 9 * * *", parse_zone("UTC"), 0)
    planned, now = ns("2026-11-21T09:00:00+00:00"), ns("2026-11-21T10:00:01+00:00")
    assert firing(after, planned, now, HOUR) == (None, ns("2026-11-22T09:00:00+00:00"))
    assert firing(after, planned, now, 2 * HOUR).due_ns == planned
    once = parse_schedule("2026-11-21T09:00:00Z", parse_zone("UTC"), 0)
    assert firing(once, planned, now, HOUR) == (None, None)
    assert firing(once, planned, planned + HOUR, HOUR) == (planned, None)


def test_years_that_were_missed_cost_no_more_than_the_time_that_is_made_up_for() -> None:
    after = parse_schedule("* * * * *", parse_zone("UTC"), 0)
    asked = []

    def counted(time_ns: int) -> int | None:
        asked.append(time_ns)
        return after(time_ns)

    now = ns("2036-11-21T09:00:30+00:00")
    assert firing(counted, ns("2026-11-21T09:00:00+00:00"), now, HOUR).due_ns == ns("2036-11-21T09:00:00+00:00")
    assert len(asked) <= 62
