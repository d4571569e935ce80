"""`GET /v1/models` and `GET /v1/models/{id}`: the agents in OpenAI's words."""

from typing import Any

import msgspec
from aiohttp import web
from breezeway.v1 import agent_pb2
from breezeway.v1.agent_registry_service_pb2 import GetAgentRequest

from breezeway_shim.backend import BACKEND, metadata_of
from breezeway_shim.dialects.agents import list_agents
from breezeway_shim.errors import ApiError


def add_routes(app: web.Application) -> None:
    """Serve the dialect."""
    app.router.add_get("/v1/models", list_models)
    # Names of models may hold slashes elsewhere; here such a model is simply not there.
    app.router.add_get("/v1/models/{model:.+}", get_model)


async def list_models(request: web.Request) -> web.Response:
    """Answer with all agents the caller may run; each under its name and under its aliases."""
    agents = await list_agents(request)
    models = [_model(agent, name) for agent in agents for name in (agent.name, *agent.aliases)]
    return _json({"object": "list", "data": models})


async def get_model(request: web.Request) -> web.Response:
    """Answer with one agent, by its name or an alias."""
    name = request.match_info["model"]
    backend = request.app[BACKEND]
    try:
        wanted = GetAgentRequest(name=name)
        reply = await backend.read(backend.agents.GetAgent, wanted, metadata_of(request), lambda _: "model")
    except ApiError as error:
        if error.status == 404:
            error.message = f"There is no model {name!r}; GET /v1/models lists what there is."
        raise
    return _json(_model(reply.agent, name))


def _model(agent: agent_pb2.Agent, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": agent.create_time.seconds,
        "owned_by": "breezeway",
        "description": agent.description,
    }


def _json(value: dict[str, Any]) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
