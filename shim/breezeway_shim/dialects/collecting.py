"""Collecting a run for a caller who wants its answer whole."""

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web
from breezeway.v1 import run_pb2

from breezeway_shim.dialects.headers import conversation_headers, run_headers
from breezeway_shim.errors import ApiError
from breezeway_shim.fold import RunFold
from breezeway_shim.openai_items.answers import json_answer
from breezeway_shim.reconnecting import Batches


async def collect(
    request: web.Request, batches: Batches, answer: Callable[[run_pb2.Run], dict[str, Any]]
) -> web.Response:
    """Wait for the run's end, and answer with what `answer` makes of the run; leaves `batches` closed.

    Its headers tell which run it was, also those of an `ApiError` that `answer` raises, or that comes after the first
    event.
    """
    fold = RunFold()
    try:
        async with aclosing(batches):
            async for events in batches:
                for event in events:
                    fold.add(event)
        return json_answer(answer(fold.run), _headers(request, fold.run))
    except ApiError as error:
        error.headers.update(_headers(request, fold.run))
        raise


def _headers(request: web.Request, run: run_pb2.Run) -> dict[str, str]:
    headers = conversation_headers(request)
    return headers | run_headers(request, run.id, run.spec) if run.id else headers
