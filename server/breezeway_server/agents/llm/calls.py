"""One model call as the agent sees it: retried before its first step, then tried with the fallback models."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from breezeway_server.agents.llm.errors import UpstreamError
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.llm.upstream import Upstream
from breezeway_server.agents.steps import Step

_MAX_WAIT = 20.0
"""Seconds: an upstream that asks for more is not waited for; its callers are told, and can wait as they like."""


class ModelCaller:
    """Calls the first of `models` that answers.

    A call is tried `1 + retries` times with each model, `backoff` seconds apart at first and twice as long each time,
    but never once a step has been given out: what callers have seen must not come again in other words.
    """

    def __init__(self, upstream: Upstream, models: Sequence[str], *, retries: int, backoff: float) -> None:
        self._upstream = upstream
        self._models = models
        self._retries = retries
        self._backoff = backoff

    async def call(
        self, compose: Callable[[str], bytes], new_fold: Callable[[str], ModelStream]
    ) -> AsyncGenerator[list[Step], None]:
        """Yield the steps of one answer, as many at a time as came together, its usage last.

        `compose` makes the body for a model, `new_fold` the fold of its stream. Usage is said of every try that
        reported it. Raises `UpstreamError`, of the model tried last.
        """
        total_until = self._upstream.total_deadline()
        now = asyncio.get_running_loop().time
        failure: UpstreamError | None = None
        for model in self._models:
            body = compose(model)
            for tried in range(1 + self._retries):
                if failure is not None and now() >= total_until:
                    raise failure
                attempt = _Attempt(new_fold(model))
                async with aclosing(attempt.steps(self._upstream, model, body, total_until)) as batches:
                    async for batch in batches:
                        yield batch
                failure = attempt.failure
                if failure is None:
                    return
                if attempt.begun or not failure.another_model:
                    raise failure
                wait = self._wait(failure, tried)
                if wait is None or now() + wait >= total_until:
                    break
                await asyncio.sleep(wait)
        if failure is not None:
            raise failure

    def _wait(self, failure: UpstreamError, tried: int) -> float | None:
        """Seconds until the next try with the same model, or None where there is none."""
        if not failure.retryable or tried >= self._retries:
            return None
        # Jitter keeps runs that failed together from coming back together.
        wait = max(failure.retry_after or 0.0, self._backoff * 2**tried * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        return wait if wait <= _MAX_WAIT else None


class _Attempt:
    """One try: `failure` says how it ended once its steps are through, `begun` whether there were any."""

    def __init__(self, fold: ModelStream) -> None:
        self._fold = fold
        self.begun = False
        self.failure: UpstreamError | None = None

    async def steps(
        self, upstream: Upstream, model: str, body: bytes, total_until: float
    ) -> AsyncGenerator[list[Step], None]:
        """The steps of the answer, then its usage where it is known, also where the try failed or is cancelled."""
        try:
            async with aclosing(upstream.stream(model, body, self._fold, total_until=total_until)) as batches:
                async for batch in batches:
                    self.begun = True
                    yield batch
        except UpstreamError as error:
            self.failure = error
        except asyncio.CancelledError:
            # What the upstream has reported by now is spent, although the run is called off.
            if usage := self._fold.usage_step():
                yield [usage]
            raise
        if usage := self._fold.usage_step():
            yield [usage]
