"""`GET /v1/capabilities`: what this server can do and its limits, for programs."""

from importlib.metadata import version
from typing import Any

from aiohttp import web
from breezeway.v1 import agent_pb2

from breezeway_shim.config import SETTINGS
from breezeway_shim.dialects.agents import list_agents
from breezeway_shim.index import endpoints_of
from breezeway_shim.openai_items.answers import json_answer
from breezeway_shim.transcoding.native import TRANSCODER

# Where each dialect creates a run, and where a stream of it that was lost goes on from its last event.
_DIALECTS = {
    "chat_completions": {
        "create": "POST /v1/chat/completions",
        "resume": "GET /v1/chat/completions/{completion_id}",
        "streaming": True,
        "background": False,
    },
    "responses": {
        "create": "POST /v1/responses",
        "resume": "GET /v1/responses/{response_id}",
        "streaming": True,
        "background": True,
    },
    "runs": {
        "create": "POST /v1/runs",
        "resume": "GET /v1/runs/{run_id}/events",
        "streaming": True,
        "background": True,
    },
}


def add_routes(app: web.Application) -> None:
    """Serve it."""
    app.router.add_get("/v1/capabilities", capabilities)


async def capabilities(request: web.Request) -> web.Response:
    """Answer with the endpoints, dialects, limits and agents that there are for the caller."""
    settings = request.app[SETTINGS]
    native = [f"{route.http_method} {route.template.text}" for route in request.app[TRANSCODER].routes]
    agents = await list_agents(request)
    return json_answer(
        {
            "object": "capabilities",
            "name": "breezeway",
            "version": version("breezeway"),
            "endpoints": [*endpoints_of(request.app), *native],
            "dialects": _DIALECTS,
            "idempotency": {"header": "Idempotency-Key"},
            "resume": {"header": "Last-Event-ID", "query": "starting_after"},
            "limits": {"max_body_bytes": settings.max_body_bytes},
            "keepalive_seconds": settings.keepalive_seconds,
            "agents": [_agent_json(agent) for agent in agents],
        }
    )


def _agent_json(agent: agent_pb2.Agent) -> dict[str, Any]:
    takes = agent.capabilities
    return {
        "id": agent.name,
        "aliases": list(agent.aliases),
        "description": agent.description,
        "kind": agent.kind,
        "content_kinds": ["text", *map(_content_kind, takes.content_kinds)],
        "client_tools": takes.client_tools,
        "multiple_choices": takes.multiple_choices,
        "resumable": takes.resumable,
    }


def _content_kind(kind: agent_pb2.ContentKind.ValueType) -> str:
    value = agent_pb2.ContentKind.DESCRIPTOR.values_by_number.get(kind)
    # A kind that is newer than this reader has no name here.
    return value.name.removeprefix("CONTENT_KIND_").lower() if value else "unknown"
