"""Clients over HTTP that stream: they come back to a stream that broke with the last thing they have of it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from random import Random
from typing import NamedTuple

import aiohttp
import msgspec

from tests.chaos.book import Asked, Book, Broken
from tests.chaos.model import ask
from tests.chaos.work import RETRY_SECONDS, Work

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
_TRANSIENT = frozenset({429, 502, 503})


class Frame(NamedTuple):
    """One event of a stream: its bytes without id and comments, its data, and its id."""

    plain: bytes
    data: bytes
    id: str


class Streaming:
    """One client, which takes another of the shims each time it connects."""

    def __init__(self, ports: Sequence[int], book: Book, random: Random) -> None:
        self._urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(force_close=True))
        self._book = book
        self._random = random

    async def close(self) -> None:
        await self._session.close()

    async def chat(self, work: Work) -> None:
        """Stream a stored chat completion to its end."""
        asked = self._book.ask("chat stream", *work)
        body = {"messages": [{"role": "user", "content": ask(work.key, work.words)}], "store": True}
        last_id = ""
        while True:
            frames = self._get_chat(asked, last_id) if last_id else self._post("chat/completions", asked, body)
            # A repeat with the same key begins with the first frame; a resumed stream behind the last one.
            position = len(asked.frames) if last_id else 0
            try:
                async with aclosing(frames):
                    async for frame in frames:
                        last_id = frame.id or last_id
                        self._put(asked, position, frame)
                        position += 1
                        if frame.data == b"[DONE]" or frame.data.startswith(b'{"error"'):
                            return
            except (aiohttp.ClientError, TimeoutError):
                pass
            if asked.status:
                return
            await self._again()

    async def response(self, work: Work) -> None:
        """Stream a response to its end."""
        asked = self._book.ask("responses stream", *work)
        body = {"input": ask(work.key, work.words)}
        while True:
            if asked.frames:
                frames = self._get(
                    f"responses/{asked.run_id}?stream=true&starting_after={len(asked.frames) - 1}", asked
                )
            else:
                frames = self._post("responses", asked, body)
            try:
                async with aclosing(frames):
                    async for frame in frames:
                        event = msgspec.json.decode(frame.data)
                        if event["type"] != "error" and event["sequence_number"] != len(asked.frames):
                            how = Broken.LOST if event["sequence_number"] > len(asked.frames) else Broken.DUPLICATED
                            number = event["sequence_number"]
                            self._book.blame(how, f"{asked.key}: frame {number} came as number {len(asked.frames)}")
                        self._put(asked, len(asked.frames), frame)
                        if event["type"] in _RESPONSE_ENDS:
                            return
            except (aiohttp.ClientError, TimeoutError):
                pass
            if asked.status:
                return
            await self._again()

    async def _again(self) -> None:
        self._book.resumes += 1
        await asyncio.sleep(RETRY_SECONDS)

    def _put(self, asked: Asked, position: int, frame: Frame) -> None:
        if position == len(asked.frames):
            asked.frames.append(frame.plain)
        elif asked.frames[position] != frame.plain:
            self._book.blame(Broken.LOST, f"{asked.key}: frame {position} is another when it is sent again")

    def _get_chat(self, asked: Asked, last_id: str) -> AsyncGenerator[Frame, None]:
        path = f"chat/completions/chatcmpl-{asked.run_id.removeprefix('run_')}?stream=true"
        return self._get(path, asked, {"Last-Event-ID": last_id})

    async def _get(self, path: str, asked: Asked, headers: dict[str, str] | None = None) -> AsyncGenerator[Frame, None]:
        url = f"{self._random.choice(self._urls)}/{path}"
        async with self._session.get(url, headers=headers) as response:
            async for frame in self._frames(asked, response):
                yield frame

    async def _post(self, path: str, asked: Asked, body: Mapping[str, object]) -> AsyncGenerator[Frame, None]:
        whole = {"model": asked.agent, "stream": True, "metadata": {"chaos": asked.key}, **body}
        headers = {"Idempotency-Key": asked.key}
        async with self._session.post(
            f"{self._random.choice(self._urls)}/{path}", json=whole, headers=headers
        ) as response:
            async for frame in self._frames(asked, response):
                yield frame

    async def _frames(self, asked: Asked, response: aiohttp.ClientResponse) -> AsyncGenerator[Frame, None]:
        run_id = response.headers.get("X-Run-Id", "")
        if run_id and asked.run_id not in {"", run_id}:
            self._book.blame(Broken.DUPLICATED, f"{asked.key}: {run_id} beside {asked.run_id}")
        asked.run_id = asked.run_id or run_id
        if response.status != 200:
            if run_id and not asked.frames:
                asked.status = response.status  # The run has failed before its first frame.
            elif run_id or response.status not in _TRANSIENT:
                text = await response.text()
                self._book.blame(Broken.WRONG, f"{asked.key} {asked.run_id}: {response.status} {text}")
                asked.status = response.status
            return
        buffer = b""
        async for data in response.content.iter_any():
            *whole, buffer = (buffer + data).split(b"\n\n")
            for raw in whole:
                if (frame := _frame(raw)) is not None:
                    yield frame
            if self._random.random() < 0.005:
                await asyncio.sleep(1.0)  # A reader that stalls.


_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})


def _frame(raw: bytes) -> Frame | None:
    lines = [line for line in raw.split(b"\n") if line and not line.startswith(b":")]
    ids = [line.removeprefix(b"id:").strip().decode() for line in lines if line.startswith(b"id:")]
    plain = [line for line in lines if not line.startswith(b"id:")]
    data = [line.removeprefix(b"data: ") for line in plain if line.startswith(b"data: ")]
    return Frame(b"\n".join(plain), data[0], ids[-1] if ids else "") if data else None
