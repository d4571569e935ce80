"""`GET /`: what there is."""

import html
from importlib.metadata import version

import msgspec
from aiohttp import web

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Breezeway</title></head>
<body><h1>Breezeway {version}</h1>
<p>Runs agents and serves them as OpenAI's API, over REST and SSE. Point a client at <code>{base_url}</code>.</p>
<ul>
{endpoints}
</ul></body></html>
"""


def add_routes(app: web.Application) -> None:
    """Serve it."""
    app.router.add_get("/", index)


async def index(request: web.Request) -> web.Response:
    """Answer with name, version and endpoints: JSON for programs, a page for browsers."""
    endpoints = endpoints_of(request.app)
    release = version("breezeway")
    if "text/html" in request.headers.get("Accept", ""):
        lines = "\n".join(f"<li><code>{html.escape(endpoint)}</code></li>" for endpoint in endpoints)
        # A Host is whatever its sender wrote, and need not be text.
        host = request.host.encode("ascii", "backslashreplace").decode()
        base_url = html.escape(f"{request.scheme}://{host}/v1")
        page = _PAGE.format(version=html.escape(release), base_url=base_url, endpoints=lines)
        return web.Response(text=page, content_type="text/html")
    body = msgspec.json.encode({"name": "breezeway", "version": release, "endpoints": endpoints})
    return web.Response(body=body, content_type="application/json")


def endpoints_of(app: web.Application) -> list[str]:
    """`METHOD /path` of every route, in the order in which they were added."""
    routes = (route for route in app.router.routes() if route.method != "HEAD" and route.resource is not None)
    return [f"{route.method} {route.resource.canonical}" for route in routes if route.resource is not None]
