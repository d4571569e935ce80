"""The official openai client, sync and async, behind one interface, so that each case runs with both."""

import asyncio
import re
from typing import Any, Protocol

from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk


class Sdk(Protocol):
    """What the cases need of a client. Errors are the SDK's own, and nothing is tried twice."""

    async def complete(self, **parameters: Any) -> ChatCompletion:
        """A whole answer."""

    async def stream(self, **parameters: Any) -> list[ChatCompletionChunk]:
        """The chunks of a stream that ends well."""


class AsyncSdk:
    """The async client."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def complete(self, **parameters: Any) -> ChatCompletion:
        completion = await self._client.chat.completions.create(**parameters)
        assert isinstance(completion, ChatCompletion)
        return completion

    async def stream(self, **parameters: Any) -> list[ChatCompletionChunk]:
        chunks = await self._client.chat.completions.create(stream=True, **parameters)
        assert isinstance(chunks, AsyncStream)
        return [chunk async for chunk in chunks]


class SyncSdk:
    """The sync client, in a thread of its own, because the model server runs on the test's loop."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    async def complete(self, **parameters: Any) -> ChatCompletion:
        def call() -> ChatCompletion:
            completion = self._client.chat.completions.create(**parameters)
            assert isinstance(completion, ChatCompletion)
            return completion

        return await asyncio.to_thread(call)

    async def stream(self, **parameters: Any) -> list[ChatCompletionChunk]:
        def collect() -> list[ChatCompletionChunk]:
            chunks = self._client.chat.completions.create(stream=True, **parameters)
            assert isinstance(chunks, Stream)
            return list(chunks)

        return await asyncio.to_thread(collect)


def user(text: str) -> list[Any]:
    """The messages of a chat that begins with `text`; Any, because the SDK wants its own TypedDicts."""
    return [{"role": "user", "content": text}]


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    """What one choice says in all."""
    choices = (choice for chunk in chunks for choice in chunk.choices if choice.index == index)
    return "".join(choice.delta.content or "" for choice in choices)


def data_of(raw: str) -> list[str]:
    """The data of a chat stream's frames as they came: one line each, with the frame's number before it or without."""
    *frames, rest = raw.split("\n\n")
    assert rest == "", "every frame is closed by an empty line"
    matches = [re.fullmatch(r"(?:id: [1-9][0-9]*\n)?data: (.*)", frame) for frame in frames]
    assert all(matches), raw
    return [match[1] for match in matches if match]
