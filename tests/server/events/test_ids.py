"""Ids sort by time, are unique, and have their spellings."""

import uuid
from collections.abc import Callable

import pytest
from breezeway_server.events.ids import Uuid7, canonical_run_id, item_id, item_key, run_key
from hypothesis import given
from hypothesis import strategies as st

DIGITS = "019a3e5c7d0070008000000000000001"


def clock_of(times: list[int]) -> Callable[[], int]:
    return iter(times).__next__


@given(times=st.lists(st.integers(0, 2**47 * 1_000_000), min_size=2, max_size=50))
def test_ids_are_ascending_version_7_whatever_the_clock_does(times: list[int]) -> None:
    new_id = Uuid7(clock_of(times))
    made = [new_id() for _ in times]
    assert made == sorted(set(made))
    for text in made:
        assert uuid.UUID(text).version == 7
        assert uuid.UUID(text).variant == uuid.RFC_4122


@given(milliseconds=st.integers(0, 2**48 - 2))
def test_an_id_begins_with_its_milliseconds(milliseconds: int) -> None:
    made = Uuid7(clock_of([milliseconds * 1_000_000 + 999_999]))()
    assert int(made[:12], 16) == milliseconds


def test_ids_of_two_makers_differ_at_the_same_time() -> None:
    assert Uuid7(clock_of([10**18]))() != Uuid7(clock_of([10**18]))()


@pytest.mark.parametrize("spelling", ["run_", "resp_", "chatcmpl-"])
def test_every_spelling_is_the_same_run(spelling: str) -> None:
    assert canonical_run_id(spelling + DIGITS) == f"run_{DIGITS}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        DIGITS,
        "run_",
        f"run_{DIGITS}0",
        f"run_{DIGITS[:-1]}",
        f"run_{DIGITS.upper()}",
        f" run_{DIGITS}",
        f"run_{DIGITS}\n",
        f"run-{DIGITS}",
        f"msg_{DIGITS}",
        f"RUN_{DIGITS}",
        "run_../../etc/passwd",
        "run_" + "\u0660" * 32,
    ],
)
def test_anything_else_is_no_run(text: str) -> None:
    assert canonical_run_id(text) is None


@given(positions=st.lists(st.integers(0, 16**6 - 1), min_size=2, unique=True))
def test_items_sort_by_their_position(positions: list[int]) -> None:
    keys = [item_key(item_id("msg" if position % 2 else "fc", DIGITS, position)) for position in sorted(positions)]
    assert keys == sorted(keys)


def test_a_runs_items_sort_behind_the_run_and_before_the_next() -> None:
    key = item_key(item_id("msg", run_key(f"run_{DIGITS}"), 0))
    assert run_key(f"run_{DIGITS}") < key < f"{int(DIGITS, 16) + 1:032x}"


def test_a_foreign_id_has_a_key_that_fits_nothing() -> None:
    assert item_key("nonsense") == ""
