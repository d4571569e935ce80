"""`GET /openapi.json`, and `GET /docs`, a page that shows it and lets one try the calls."""

from base64 import b64encode
from collections.abc import AsyncGenerator
from hashlib import sha256
from importlib import resources

import breezeway.v1
import msgspec
from aiohttp import web

from breezeway_shim.transcoding.native import TRANSCODER
from breezeway_shim.transcoding.openapi.document import build_document

_DOCUMENT = web.AppKey("openapi", bytes)
_FILES = resources.files("breezeway_shim.transcoding.openapi") / "page"


def add_routes(app: web.Application) -> None:
    """Serve the two."""
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/docs", Page().show)
    app.cleanup_ctx.append(_build)


async def _build(app: web.Application) -> AsyncGenerator[None, None]:
    # When the application starts, all of its routes are there.
    comments = msgspec.json.decode((resources.files(breezeway.v1) / "comments.json").read_bytes(), type=dict[str, str])
    app[_DOCUMENT] = msgspec.json.encode(build_document(app, app[TRANSCODER].routes, comments))
    yield


async def openapi(request: web.Request) -> web.Response:
    """Answer with the OpenAPI document of this server."""
    return web.Response(body=request.app[_DOCUMENT], content_type="application/json")


class Page:
    """The page, with its style and its script in it, so that it needs nothing from anywhere else."""

    def __init__(self) -> None:
        style, script = (_FILES / "docs.css").read_text(), (_FILES / "docs.js").read_text()
        page = (_FILES / "docs.html").read_text()
        self._text = page.replace("/* style */", style).replace("/* script */", script)
        self._policy = (
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
            # The icon is empty, so that browsers look for none.
            "img-src data:; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )

    async def show(self, request: web.Request) -> web.Response:  # noqa: ARG002  aiohttp's signature
        """Answer with a page that shows the OpenAPI document."""
        headers = {"Content-Security-Policy": self._policy}
        return web.Response(text=self._text, content_type="text/html", headers=headers)


def _hash(text: str) -> str:
    """The source of a Content-Security-Policy that allows exactly this text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
