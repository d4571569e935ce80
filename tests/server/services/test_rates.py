"""Times in OpenAI's words."""

import pytest
from breezeway_server.services.rates import duration


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (12_000_000, "12ms"),
        (999_000_000, "999ms"),
        (999_000_001, "1s"),
        (1_000_000_001, "2s"),
        (59 * 10**9, "59s"),
        (59 * 10**9 + 1, "1m0s"),
        (60 * 10**9, "1m0s"),
        (366 * 10**9, "6m6s"),
    ],
)
def test_a_duration_is_rounded_up(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text
