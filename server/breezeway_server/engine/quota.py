"""Quotas: how much each payer may use, and how much of that it has used in this process."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from breezeway_server.engine.window import Window
from breezeway_server.errors import ResourceExhausted

_NANOSECONDS = 10**9
# When one of many runs under way will end is nobody's to know.
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How much may be used; None is any amount."""

    max_runs: int | None = None
    """Runs under way at once."""
    requests_per_minute: int | None = None
    """Runs accepted in any minute."""
    tokens_per_minute: int | None = None
    """Tokens in any minute; a run is refused once they are spent."""


ANY: Final = Rates()
"""No limit."""


class Allowance(NamedTuple):
    """Who pays for a run, and how much they may use. All that has no payer of its own is paid for by ""."""

    payer: str
    rates: Rates
    key_id: str = ""
    """The payer's key, which then names it; empty for one without an id, who is somebody else after a restart."""


UNLIMITED: Final = Allowance("", ANY)
"""What nobody in particular pays for, such as a run that the server starts by itself."""


class Standing(NamedTuple):
    """How a limit a minute stands: how much there may be, how much is left, and in how many ns all of it will be."""

    limit: int
    remaining: int
    reset_ns: int


class Standings(NamedTuple):
    """How the limits a minute of a payer stand; None where there is no limit."""

    requests: Standing | None
    tokens: Standing | None


class Account:
    """What one payer has used. Its limits come with each request, because they may change meanwhile."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._runs = 0
        self._requests = Window()
        self._tokens = Window()

    def check(self, rates: Rates) -> None:
        """Raise `ResourceExhausted` where the payer may not start a run now."""
        now = self._clock()
        if rates.max_runs is not None and self._runs >= rates.max_runs:
            message = f"{rates.max_runs} runs of this key are under way, which is its limit; try again later."
            raise ResourceExhausted("TOO_MANY_RUNS_OF_KEY", message, _RETRY_SECONDS)
        limit = rates.requests_per_minute
        if limit is not None and (wait := self._requests.until_below(now, limit)):
            message = f"This key may create {limit} runs a minute and has done so; {_in_seconds(wait)}."
            raise ResourceExhausted("RATE_LIMITED_REQUESTS", message, wait / _NANOSECONDS)
        limit = rates.tokens_per_minute
        if limit is not None and (wait := self._tokens.until_below(now, limit)):
            message = f"The runs of this key may use {limit} tokens a minute and have done so; {_in_seconds(wait)}."
            raise ResourceExhausted("RATE_LIMITED_TOKENS", message, wait / _NANOSECONDS)

    def count_request(self) -> None:
        """Count a run that was accepted."""
        self._requests.use(self._clock(), 1)

    def count_tokens(self, tokens: int) -> None:
        """Count what a model call used."""
        self._tokens.use(self._clock(), tokens)

    def run_began(self) -> None:
        """Count a run as under way."""
        self._runs += 1

    def run_ended(self) -> None:
        """Count a run as no longer under way."""
        self._runs -= 1

    def standings(self, rates: Rates) -> Standings:
        """Return how the limits stand."""
        now = self._clock()
        return Standings(
            _standing(self._requests, rates.requests_per_minute, now),
            _standing(self._tokens, rates.tokens_per_minute, now),
        )


class Quotas:
    """The accounts of all payers."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """`clock` gives nanoseconds and never goes back."""
        self._clock = clock
        self._accounts: dict[str, Account] = {}

    def account(self, payer: str) -> Account:
        """Return the payer's account."""
        account = self._accounts.get(payer)
        if account is None:
            account = self._accounts[payer] = Account(self._clock)
        return account


def _standing(window: Window, limit: int | None, now: int) -> Standing | None:
    if limit is None:
        return None
    return Standing(limit, max(0, limit - window.used(now)), window.until_below(now, 1))


def _in_seconds(nanoseconds: int) -> str:
    return f"try again in {-(-nanoseconds // _NANOSECONDS)} seconds"
