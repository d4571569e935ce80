"""Quotas: what a payer may use, each for themselves."""

import pytest
from breezeway_server.engine.quota import Account, Quotas, Rates, Standing
from breezeway_server.errors import ResourceExhausted

SECOND = 10**9


class Clock:
    """Nanoseconds, as a test has them."""

    def __init__(self) -> None:
        self.now = 5

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def account(clock: Clock) -> Account:
    return Quotas(clock).account("one")


def refusal(account: Account, rates: Rates) -> ResourceExhausted:
    with pytest.raises(ResourceExhausted) as raised:
        account.check(rates)
    return raised.value


def test_without_limits_everything_may_be(account: Account) -> None:
    for _ in range(1000):
        account.check(Rates())
        account.run_began()
        account.count_request()
        account.count_tokens(10**9)
    assert account.standings(Rates()) == (None, None)


def test_requests_are_refused_until_a_minute_after_the_oldest(account: Account, clock: Clock) -> None:
    rates = Rates(requests_per_minute=2)
    account.count_request()
    clock.now += 20 * SECOND
    account.check(rates)
    account.count_request()
    clock.now += 10 * SECOND
    refused = refusal(account, rates)
    assert (refused.reason, refused.retry_after) == ("RATE_LIMITED_REQUESTS", 30)
    assert account.standings(rates).requests == Standing(2, 0, 50 * SECOND)
    clock.now += 30 * SECOND
    account.check(rates)
    assert account.standings(rates).requests == Standing(2, 1, 20 * SECOND)


def test_tokens_are_refused_once_they_are_spent(account: Account, clock: Clock) -> None:
    rates = Rates(tokens_per_minute=100)
    account.count_tokens(99)
    account.check(rates)
    clock.now += SECOND
    account.count_tokens(500)
    assert account.standings(rates).tokens == Standing(100, 0, 60 * SECOND)
    refused = refusal(account, rates)
    # What the second call used has to be forgotten too: it alone is more than the limit.
    assert (refused.reason, refused.retry_after) == ("RATE_LIMITED_TOKENS", 60)
    clock.now += 60 * SECOND
    account.check(rates)
    assert account.standings(rates).tokens == Standing(100, 100, 0)


def test_runs_under_way_are_counted(account: Account) -> None:
    rates = Rates(max_runs=1)
    account.check(rates)
    account.run_began()
    assert refusal(account, rates).reason == "TOO_MANY_RUNS_OF_KEY"
    account.run_ended()
    account.check(rates)


def test_limits_that_have_changed_hold_at_once(account: Account) -> None:
    account.count_request()
    account.check(Rates(requests_per_minute=2))
    assert refusal(account, Rates(requests_per_minute=1)).reason == "RATE_LIMITED_REQUESTS"


def test_payers_do_not_feel_each_other(clock: Clock) -> None:
    quotas = Quotas(clock)
    rates = Rates(max_runs=1, requests_per_minute=1, tokens_per_minute=1)
    one = quotas.account("one")
    one.run_began()
    one.count_request()
    one.count_tokens(1)
    two = quotas.account("two")
    two.check(rates)
    assert two.standings(rates) == (Standing(1, 1, 0), Standing(1, 1, 0))
    assert quotas.account("one") is one
