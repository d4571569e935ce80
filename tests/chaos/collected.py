"""Clients over HTTP that want the whole answer at once, and ask again with the same key until they have it."""

import asyncio
from collections.abc import Sequence
from random import Random

import aiohttp
import msgspec

from tests.chaos.book import Asked, Book, Broken
from tests.chaos.model import ask
from tests.chaos.work import RETRY_SECONDS, Work

_TRANSIENT = frozenset({429, 502, 503})


class Collecting:
    """One client, which takes another of the shims each time it connects."""

    def __init__(self, ports: Sequence[int], book: Book, random: Random) -> None:
        self._urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5), connector=aiohttp.TCPConnector(force_close=True)
        )
        self._book = book
        self._random = random

    async def close(self) -> None:
        await self._session.close()

    async def chat(self, work: Work) -> None:
        """Get a stored chat completion, twice."""
        messages = [{"role": "user", "content": ask(work.key, work.words)}]
        await self._twice("chat/completions", self._book.ask("chat", *work), {"messages": messages, "store": True})

    async def response(self, work: Work) -> None:
        """Get a response, twice."""
        await self._twice("responses", self._book.ask("responses", *work), {"input": ask(work.key, work.words)})

    async def _twice(self, path: str, asked: Asked, body: dict[str, object]) -> None:
        first = await self._insist(path, asked, body)
        second = await self._insist(path, asked, body)
        if first != second:
            self._book.blame(Broken.WRONG, f"{asked.key}: a repeat is answered otherwise: {first!r}, {second!r}")
        asked.status, answer = first
        asked.answer = msgspec.json.decode(answer)

    async def _insist(self, path: str, asked: Asked, body: dict[str, object]) -> tuple[int, bytes]:
        whole = {"model": asked.agent, "metadata": {"chaos": asked.key}, **body}
        while True:
            url = f"{self._random.choice(self._urls)}/{path}"
            try:
                async with self._session.post(url, json=whole, headers={"Idempotency-Key": asked.key}) as response:
                    run_id = response.headers.get("X-Run-Id", "")
                    if run_id:
                        if asked.run_id not in {"", run_id}:
                            self._book.blame(Broken.DUPLICATED, f"{asked.key}: {run_id} beside {asked.run_id}")
                        asked.run_id = run_id
                        return response.status, await response.read()
                    if response.status not in _TRANSIENT:
                        text = await response.read()
                        self._book.blame(Broken.WRONG, f"{asked.key}: {response.status} {text!r}")
                        return response.status, text
            except (aiohttp.ClientError, TimeoutError):
                pass
            self._book.resumes += 1
            await asyncio.sleep(RETRY_SECONDS)
