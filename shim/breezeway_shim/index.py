"""`GET /`, what there is, and `GET /health`, whether it works."""

import html
from importlib.metadata import version

import msgspec
from aiohttp import web

from breezeway_shim.backend import BACKEND

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Breezeway</title></head>
<body><h1>Breezeway {version}</h1>
<p>Runs agents and serves them as OpenAI's API, over REST and SSE. Point a client at <code>{base_url}</code>.</p>
<ul>
{endpoints}
</ul></body></html>
"""


def add_routes(app: web.Application) -> None:
    """Serve the two."""
    app.router.add_get("/", index)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/health", health)


async def index(request: web.Request) -> web.Response:
    """Answer with name, version and endpoints: JSON for programs, a page for browsers."""
    endpoints = endpoints_of(request.app)
    release = version("breezeway")
    if "text/html" in request.headers.get("Accept", ""):
        lines = "\n".join(f"<li><code>{html.escape(endpoint)}</code></li>" for endpoint in endpoints)
        base_url = html.escape(f"{request.scheme}://{request.host}/v1")
        page = _PAGE.format(version=html.escape(release), base_url=base_url, endpoints=lines)
        return web.Response(text=page, content_type="text/html")
    body = msgspec.json.encode({"name": "breezeway", "version": release, "endpoints": endpoints})
    return web.Response(body=body, content_type="application/json")


async def health(request: web.Request) -> web.Response:
    """Answer 200 where the server behind serves, and 503 where it does not or cannot be reached."""
    serving = await request.app[BACKEND].serving()
    body = msgspec.json.encode({"status": "ok" if serving else "unavailable"})
    return web.Response(status=200 if serving else 503, body=body, content_type="application/json")


def endpoints_of(app: web.Application) -> list[str]:
    """`METHOD /path` of every route, in the order in which they were added."""
    routes = (route for route in app.router.routes() if route.method != "HEAD" and route.resource is not None)
    return [f"{route.method} {route.resource.canonical}" for route in routes if route.resource is not None]
