"""One model call as the agent sees it: retried before its first step, then tried with the fallback models."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from breezeway.telemetry.traces import Span

from breezeway_server.agents.llm.errors import UpstreamError
from breezeway_server.agents.llm.question import Question
from breezeway_server.agents.llm.spans import begin_chat, end_chat, trace_headers
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.llm.upstream import Answer, Upstream
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

    def call(self, question: Question) -> "ModelCall":
        """Return a call, which is made when it is first read.

        Where the models say that the question is more than they can read, it is shortened if it can be.
        """
        return ModelCall(self, self._upstream, question)

    async def first(self, attempt: "Attempt") -> list[Step]:
        """Return the first steps of the first try that has any, or ends well. Raises what the last one failed with."""
        total_until = self._upstream.total_deadline()
        failure: UpstreamError | None = None
        for model in self._models:
            for tried in range(1 + self._retries):
                if failure is not None and not await self._waited(failure, tried, total_until):
                    break
                try:
                    return await attempt(model, total_until)
                except UpstreamError as error:
                    if not error.another_model:
                        raise
                    failure = error
        assert failure is not None, "there is a model to call"
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


class ModelCall:
    """A call with all its tries. It is an object to read, because one more generator would be on every token's way."""

    __slots__ = ("_answer", "_caller", "_failure", "_folds", "_over", "_question", "_span", "_upstream")

    def __init__(self, caller: ModelCaller, upstream: Upstream, question: Question) -> None:
        self._caller = caller
        self._upstream = upstream
        # What is asked may be as long as a book, and is let go of once the answer has begun.
        self._question: Question | None = question
        self._answer: Answer | None = None
        self._span: Span | None = None
        self._folds: list[ModelStream] = []
        self._over = False
        self._failure: UpstreamError | asyncio.CancelledError | None = None

    async def read(self) -> list[Step]:
        """Return the steps that came next, as many as came together; none at the end.

        What was used comes last, also by tries that failed or were called off. Raises `UpstreamError`.
        """
        if not self._over:
            try:
                steps = await (self._begin() if self._answer is None else self._answer.read())
            except (UpstreamError, asyncio.CancelledError) as error:
                # Raised when the next is asked for: what the upstream has reported by now is spent all the same.
                self._failure, steps = error, []
            if steps:
                return steps
            self._over = True
            self._leave(self._failure)
            if used := [usage for fold in self._folds if (usage := fold.usage_step())]:
                return list[Step](used)
        if self._failure is not None:
            raise self._failure
        return []

    async def _begin(self) -> list[Step]:
        question, self._question = self._question, None
        assert question is not None, "a call is begun once"
        while True:
            try:
                return await self._caller.first(partial(self._try, question))
            except UpstreamError as error:
                if not (error.too_long and question.shorten()):
                    raise

    async def _try(self, question: Question, model: str, total_until: float) -> list[Step]:
        fold = question.fold(model)
        self._folds.append(fold)
        span = self._span = begin_chat(model, self._upstream.host)
        try:
            self._answer = await self._upstream.open(
                model, question.body(model), fold, total_until=total_until, headers=trace_headers(span)
            )
            return await self._answer.read()
        except UpstreamError as error:
            self._leave(error)
            raise

    def close(self) -> None:
        """Read no further."""
        self._leave(None)

    def _leave(self, error: BaseException | None) -> None:
        if self._span is not None:
            end_chat(self._span, self._folds[-1], error)
            self._span = None
        if self._answer is not None:
            self._answer.close()
            self._answer = None


Attempt = Callable[[str, float], Awaitable[list[Step]]]
"""A try of a call with a model, which must be over at a time of the loop."""
