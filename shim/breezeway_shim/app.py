"""The application: settings and backend go in, routes and middlewares come out."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

from aiohttp import web

from breezeway_shim import capabilities, health, index
from breezeway_shim.backend import BACKEND, Backend
from breezeway_shim.body_budget import BODY_BUDGET, BodyBudget, count_bodies, give_back_body
from breezeway_shim.config import SETTINGS, ShimSettings
from breezeway_shim.dialects.chat_completions import handler as chat_completions
from breezeway_shim.dialects.conversations import handler as conversations
from breezeway_shim.dialects.models import handler as models
from breezeway_shim.dialects.responses import handler as responses
from breezeway_shim.dialects.runs import handler as runs
from breezeway_shim.metrics import ShimMetrics
from breezeway_shim.middleware import add_headers, identify, shape_errors
from breezeway_shim.observing import METRICS, note_stream, observe
from breezeway_shim.origin import check_origin
from breezeway_shim.transcoding import native
from breezeway_shim.transcoding.openapi import handler as openapi


def build_app(settings: ShimSettings, backend: Backend) -> web.Application:
    """Return the application; it closes `backend` when it is cleaned up.

    Run it with `handler_cancellation=True`: a client that leaves must cancel its handler.
    """
    app = web.Application(middlewares=[identify, observe, shape_errors, check_origin, count_bodies])
    app[SETTINGS] = settings
    app[BODY_BUDGET] = BodyBudget(settings)
    app[BACKEND] = backend
    app[METRICS] = ShimMetrics(_shared_metrics())
    app.cleanup_ctx.append(_close_backend)
    app.on_response_prepare.append(add_headers)
    app.on_response_prepare.append(note_stream)
    app.on_response_prepare.append(give_back_body)
    for dialect in (
        index,
        health,
        chat_completions,
        responses,
        conversations,
        runs,
        models,
        capabilities,
        native,
        openapi,
    ):
        dialect.add_routes(app)
    return app


def _shared_metrics() -> Path | None:
    path = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(path) if path else None


async def _close_backend(app: web.Application) -> AsyncGenerator[None, None]:
    yield
    await app[BACKEND].close()
