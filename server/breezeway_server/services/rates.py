"""What callers are told of their limits a minute: metadata in the words of OpenAI's headers."""

from collections.abc import Iterator, Sequence

from breezeway_server.engine.quota import Standing, Standings
from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.services.caller import Caller
from breezeway_server.services.context import Context

Pairs = Sequence[tuple[str, str]]

_MILLISECOND = 10**6
_SECOND = 1000
_MINUTE = 60 * _SECOND


def rate_metadata(supervisor: Supervisor, caller: Caller) -> Pairs:
    """Return `x-ratelimit-*` for each limit that the caller has; empty where there is none."""
    rates = caller.allowance.rates
    if rates.requests_per_minute is None and rates.tokens_per_minute is None:
        return ()
    return tuple(_pairs(supervisor.intake.standings(caller.allowance)))


async def tell_rates(supervisor: Supervisor, caller: Caller, context: Context) -> None:
    """Send the initial metadata of a call that created a run, or repeated one."""
    metadata = rate_metadata(supervisor, caller)
    if metadata:
        await context.send_initial_metadata(metadata)


def _pairs(standings: Standings) -> Iterator[tuple[str, str]]:
    for what, standing in (("requests", standings.requests), ("tokens", standings.tokens)):
        if standing is not None:
            yield from _of(what, standing)


def _of(what: str, standing: Standing) -> Iterator[tuple[str, str]]:
    yield f"x-ratelimit-limit-{what}", str(standing.limit)
    yield f"x-ratelimit-remaining-{what}", str(standing.remaining)
    yield f"x-ratelimit-reset-{what}", duration(standing.reset_ns)


def duration(nanoseconds: int) -> str:
    """Return a time in OpenAI's form, rounded up: `0s`, `12ms`, `8s`, `1m0s`."""
    milliseconds = -(-nanoseconds // _MILLISECOND)
    if 0 < milliseconds < _SECOND:
        return f"{milliseconds}ms"
    minutes, rest = divmod(-(-milliseconds // _SECOND) * _SECOND, _MINUTE)
    seconds = f"{rest // _SECOND}s"
    return f"{minutes}m{seconds}" if minutes else seconds
