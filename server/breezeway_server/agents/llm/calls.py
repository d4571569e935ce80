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
        reported it, also of one that is cancelled. Raises `UpstreamError`, of the model tried last.
        """
        total_until = self._upstream.total_deadline()
        failure: UpstreamError | None = None
        for model in self._models:
            body = compose(model)
            for tried in range(1 + self._retries):
                if failure is not None and not await self._waited(failure, tried, total_until):
                    break
                fold = new_fold(model)
                ended: UpstreamError | asyncio.CancelledError | None = None
                begun = False
                # One generator above the upstream's own, and no function a batch: this is every token's way.
                try:
                    async with aclosing(self._upstream.stream(model, body, fold, total_until=total_until)) as batches:
                        async for batch in batches:
                            begun = True
                            yield batch
                except (UpstreamError, asyncio.CancelledError) as error:
                    # A try that is called off has spent what the upstream has reported by now, too.
                    ended = error
                if usage := fold.usage_step():
                    yield [usage]
                if ended is None:
                    return
                if begun or not isinstance(ended, UpstreamError) or not ended.another_model:
                    raise ended
                failure = ended
        if failure is not None:
            raise failure

    async def _waited(self, failure: UpstreamError, tried: int, total_until: float) -> bool:
        """Wait as long as the next try needs. False where it cannot be: the next model is asked at once, if any.

        Raises the failure where the time is up.
        """
        now = asyncio.get_running_loop().time()
        if now >= total_until:
            raise failure
        if tried == 0:
            return True
        if not failure.retryable:
            return False
        # Jitter keeps runs that failed together from coming back together.
        backoff = self._backoff * 2 ** (tried - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        wait = max(failure.retry_after or 0.0, backoff)
        if wait > _MAX_WAIT or now + wait >= total_until:
            return False
        await asyncio.sleep(wait)
        return True
