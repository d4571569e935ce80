"""The yardstick: a bare aiohttp proxy that parses and re-encodes each chunk; runs with its port and the model's."""

import sys
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import uvloop
from aiohttp import ClientSession, TCPConnector, web

_SESSION = web.AppKey("session", ClientSession)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


async def _chat(request: web.Request) -> web.StreamResponse:
    body: dict[str, Any] = _decode(await request.read())
    async with request.app[_SESSION].post("/v1/chat/completions", data=_encode(body)) as upstream:
        if not body.get("stream"):
            return web.Response(body=_encode(_decode(await upstream.read())), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        async for line in upstream.content:
            if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                await response.write(b"data: " + _encode(_decode(line[6:])) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


def _app(model_port: int) -> web.Application:
    app = web.Application(client_max_size=2**26)

    async def session(app: web.Application) -> AsyncGenerator[None, None]:
        app[_SESSION] = ClientSession(f"http://127.0.0.1:{model_port}", connector=TCPConnector(limit=0))
        yield
        await app[_SESSION].close()

    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", _chat)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(
        _app(int(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        backlog=4096,
        # Streams that nobody reads any more go on for as long as the model speaks.
        shutdown_timeout=1.0,
    )
