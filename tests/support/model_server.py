"""A scripted OpenAI-compatible model server over real HTTP: what it answers is a list of actions, what it got is kept.

As a process: `python -m tests.support.model_server --port 9000 --pace 0.05`. It then echoes the last user text word by
word, or plays what the model's name says: `echo`, `words-200`, `error-429`, `silent`, `cut`, `malformed`, `call-NAME`.
"""

import argparse
import asyncio
import json
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True)
class Chunk:
    """Send one chunk; `id`, `object`, `created` and `model` are added."""

    body: Mapping[str, Any]


@dataclass(frozen=True)
class Raw:
    """Send these bytes as they are, in a write of their own."""

    data: bytes


@dataclass(frozen=True)
class Hold:
    """Send nothing until the event is set: `Hold(server.gate("name"))`, or for ever by default."""

    until: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Pause:
    """Send nothing for that many seconds: for benchmarks, not for tests."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """Break the connection off."""


Action = Chunk | Raw | Hold | Pause | Cut
DONE = Raw(b"data: [DONE]\n\n")


@dataclass(frozen=True)
class Refusal:
    """No stream but this status, body and headers; a `str` body goes as text/html."""

    status: int
    body: Mapping[str, Any] | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """A 200 that plays these actions; `newline` ends the lines of its chunks, `comments` puts some between them."""

    actions: Sequence[Action]
    newline: str = "\n"
    comments: bool = False
    content_type: str = "text/event-stream"


Reply = Stream | Refusal


@dataclass
class Request:
    """A call as it came."""

    body: Json
    headers: Mapping[str, str]
    arrived_at: float
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The client went away before its answer was whole."""
    gone_at: float = 0.0
    """When, in the loop's time."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """The answer went out whole."""

    @property
    def messages(self) -> list[Json]:
        messages: list[Json] = self.body["messages"]
        return messages

    @property
    def last_user_text(self) -> str:
        """The text of the last user message, parts joined."""
        for message in reversed(self.messages):
            if message["role"] == "user":
                content = message["content"]
                if isinstance(content, str):
                    return content
                return "".join(part.get("text", "") for part in content)
        return ""


Script = Reply | Callable[[Request], Reply]


def text(*pieces: str, index: int = 0) -> list[Action]:
    return [Chunk({"choices": [{"index": index, "delta": {"content": piece}}]}) for piece in pieces]


def reasoning(*pieces: str, spelling: str = "reasoning_content") -> list[Action]:
    return [Chunk({"choices": [{"index": 0, "delta": {spelling: piece}}]}) for piece in pieces]


def call(name: str, arguments: Json | str, *, call_id: str | None = None, at: int = 0, pieces: int = 2) -> list[Action]:
    """A tool call, its arguments in that many pieces; `at` is its index among the calls."""
    whole = arguments if isinstance(arguments, str) else json.dumps(arguments)
    first: Json = {"index": at, "type": "function", "function": {"name": name, "arguments": ""}}
    if call_id is not None:
        first["id"] = call_id
    size = max(1, -(-len(whole) // pieces))
    rest = [{"index": at, "function": {"arguments": whole[i : i + size]}} for i in range(0, len(whole), size)]
    return [Chunk({"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]}) for piece in (first, *rest)]


def finish(reason: str = "stop", *, index: int = 0) -> Action:
    return Chunk({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})


def usage(prompt: int, completion: int, *, cached: int = 0, reasoning_tokens: int = 0) -> Action:
    return Chunk(
        {
            "choices": [],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens_details": {"reasoning_tokens": reasoning_tokens},
            },
        }
    )


def answer(*pieces: str, tokens: tuple[int, int] = (10, 5), reason: str = "stop") -> Stream:
    """A whole answer with its usage."""
    return Stream([*text(*pieces), finish(reason), usage(*tokens), DONE])


def calls(*calls_made: Sequence[Action], before: Sequence[Action] = (), tokens: tuple[int, int] = (10, 5)) -> Stream:
    """A turn that ends in tool calls: `calls(call("a", {}), call("b", {}, at=1))`."""
    made = [action for one in calls_made for action in one]
    return Stream([*before, *made, finish("tool_calls"), usage(*tokens), DONE])


def error(status: int, message: str = "refused", *, headers: Mapping[str, str] | None = None, **fields: Any) -> Refusal:
    """An error in OpenAI's form; `fields` are its type, param and code."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": None, **fields}}
    return Refusal(status, body, headers or {})


def echo(request: Request, *, pace: float = 0.0) -> Stream:
    """The last user text word by word; usage counts words."""
    words = re.findall(r"\s*\S+\s*", request.last_user_text)
    actions: list[Action] = []
    for word in words:
        actions += [*([Pause(pace)] if pace else []), *text(word)]
    read = sum(len(str(message.get("content") or "").split()) for message in request.messages)
    return Stream([*actions, finish(), usage(read, len(words)), DONE])


class ModelServer:
    """The server. Replies come from `enqueue`, then from `models` by the model's name, then from `default`."""

    def __init__(self, *, default: Script = echo) -> None:
        self.requests: list[Request] = []
        self.models: dict[str, Script] = {}
        self._default = default
        self._queue: deque[Script] = deque()
        self._arrivals: asyncio.Queue[Request] = asyncio.Queue()
        self._runner: web.AppRunner | None = None
        self.base_url = ""

    @classmethod
    @asynccontextmanager
    async def serving(cls, *, default: Script = echo) -> AsyncIterator[Self]:
        """A server on a port of its own, for the length of the block."""
        server = cls(default=default)
        await server.start()
        try:
            yield server
        finally:
            await server.close()

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_get("/v1/models", self._list_models)
        # The handler's cancellation is how a client that goes away is noticed at once.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0]
        self.base_url = f"http://{host}:{bound[1]}/v1"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def enqueue(self, *scripts: Script) -> None:
        """Answer the next calls, of whatever model, with these, in order."""
        self._queue.extend(scripts)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return 0 if self._runner is None or self._runner.server is None else len(self._runner.server.connections)

    async def arrival(self) -> Request:
        """The next call that nobody has waited for yet."""
        return await self._arrivals.get()

    def _script(self, request: Request) -> Script:
        if self._queue:
            return self._queue.popleft()
        return self.models.get(request.body["model"], self._default)

    async def _list_models(self, _: web.Request) -> web.Response:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
        return web.json_response({"object": "list", "data": models})

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        request = Request(await http.json(), dict(http.headers), loop.time())
        self.requests.append(request)
        self._arrivals.put_nowait(request)
        script = self._script(request)
        reply = script(request) if callable(script) else script
        try:
            response = await (_refuse(reply) if isinstance(reply, Refusal) else _play(http, request, reply))
        except (asyncio.CancelledError, ConnectionError):
            request.gone_at = loop.time()
            request.gone.set()
            raise
        request.finished.set()
        return response


async def _refuse(reply: Refusal) -> web.Response:
    if isinstance(reply.body, str):
        return web.Response(status=reply.status, text=reply.body, headers=reply.headers, content_type="text/html")
    return web.json_response(reply.body, status=reply.status, headers=reply.headers)


async def _play(http: web.Request, request: Request, reply: Stream) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": reply.content_type})
    await response.prepare(http)
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request.body["model"]}
    *before, last = reply.actions or [Raw(b"")]
    # The end goes out with what comes last: in two pieces, how long the second is waited for would be a matter of luck.
    actions, end_with = (before, last.data) if isinstance(last, Raw) else (reply.actions, b"")
    for action in actions:
        match action:
            case Chunk(body):
                end = reply.newline * 2
                comment = f": still here{reply.newline}" if reply.comments else ""
                data = json.dumps({**envelope, **body}, ensure_ascii=False)
                await response.write(f"{comment}data: {data}{end}".encode())
            case Raw(data):
                await response.write(data)
            case Hold(until):
                await until.wait()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Cut():
                if http.transport is not None:
                    http.transport.close()
                return response
    await response.write_eof(end_with)
    return response


def by_name(request: Request, *, pace: float = 0.0) -> Reply:
    """What the model's name says; an echo for any other name."""
    name, _, detail = str(request.body["model"]).partition("-")
    match name:
        case "words" if detail.isdecimal():
            pause: Iterable[Action] = [Pause(pace)] if pace else []
            words: list[Action] = []
            for number in range(int(detail)):
                words += [*pause, *text(f"word{number} ")]
            return Stream([*words, finish(), usage(1, int(detail)), DONE])
        case "error" if detail.isdecimal():
            return error(int(detail), f"asked for {detail}")
        case "silent":
            return Stream([Hold()])
        case "cut":
            return Stream([*text("half ", "an "), Cut()])
        case "malformed":
            return Stream([*text("half "), Raw(b"data: {nonsense\n\n")])
        case "call":
            return calls(call(detail or "tool", {}, call_id="call_1"))
        case _:
            return echo(request, pace=pace)


async def _serve(host: str, port: int, pace: float) -> None:
    server = ModelServer(default=lambda request: by_name(request, pace=pace))
    await server.start(host=host, port=port)
    print(f"model server: {server.base_url}", flush=True)  # noqa: T201 - whoever starts it reads where it listens
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A scripted model server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between words")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.host, arguments.port, arguments.pace))
