"""The sliding window: never more than the limit in any minute, and always room again in time."""

from collections.abc import Sequence

from breezeway_server.engine.window import WINDOW_NS, Window
from hypothesis import given
from hypothesis import strategies as st

# From nothing over parts of a second to more than the window, so that uses are held as one, apart, and forgotten.
PAUSES = st.one_of(
    st.just(0), st.integers(1, 200_000_000), st.integers(10**9, 2 * 10**9), st.integers(0, 2 * WINDOW_NS)
)
Times = Sequence[int]


def used_before(times: Times, now: int) -> int:
    """How many of these lie in the minute up to now."""
    return sum(now - WINDOW_NS < time <= now for time in times)


def admitted(limit: int, pauses: Sequence[int]) -> tuple[Window, list[int], int]:
    """What a caller gets who tries after each pause."""
    window, times, now = Window(), list[int](), 0
    for pause in pauses:
        now += pause
        if window.until_below(now, limit) == 0:
            window.use(now, 1)
            times.append(now)
    return window, times, now


@given(limit=st.integers(1, 8), pauses=st.lists(PAUSES, max_size=60))
def test_no_minute_has_more_than_the_limit(limit: int, pauses: Sequence[int]) -> None:
    _, times, _ = admitted(limit, pauses)
    assert all(used_before(times, time) <= limit for time in times)


@given(limit=st.integers(1, 8), pauses=st.lists(PAUSES, max_size=60))
def test_there_is_room_again_after_exactly_the_time_that_was_told(limit: int, pauses: Sequence[int]) -> None:
    window, _, now = admitted(limit, pauses)
    full = window.used(now) >= limit
    wait = window.until_below(now, limit)
    assert 0 <= wait <= WINDOW_NS
    assert (wait > 0) == full
    if wait:
        assert window.until_below(now + wait - 1, limit) == 1
    assert window.until_below(now + wait, limit) == 0


@given(pauses=st.lists(PAUSES, min_size=1, max_size=60), amounts=st.lists(st.integers(0, 1000), min_size=60))
def test_all_of_it_is_forgotten_after_a_minute_and_nothing_before(
    pauses: Sequence[int], amounts: Sequence[int]
) -> None:
    window, now, uses = Window(), 0, list[tuple[int, int]]()
    for pause, amount in zip(pauses, amounts, strict=False):
        now += pause
        window.use(now, amount)
        uses.append((now, amount))
        held = sum(amount for time, amount in uses if now - WINDOW_NS < time)
        # What came within a tenth of a second is held as one, and so perhaps that much longer.
        longest = sum(amount for time, amount in uses if now - WINDOW_NS - WINDOW_NS // 600 < time)
        assert held <= window.used(now) <= longest
    assert window.used(now + WINDOW_NS) == 0
    assert window.until_below(now + WINDOW_NS, 1) == 0


def test_memory_is_bounded_however_much_is_used() -> None:
    window = Window()
    for number in range(200_000):
        window.use(number * 1_000_000, 1)
    assert len(window._uses) <= 602
    assert window.used(200_000 * 1_000_000) >= 59_999
