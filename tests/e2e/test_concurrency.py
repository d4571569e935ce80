"""Many at once: nobody gets a word of another's."""

import asyncio
from uuid import uuid4

from openai import AsyncOpenAI

from tests.e2e.native import Native
from tests.e2e.native import text_of as run_text
from tests.e2e.sdk import text_of, user
from tests.support.model_server import Hold, ModelServer, Stream, answer

STREAMS = 200
WORDS = 20


async def test_two_hundred_streams_each_with_its_own_words(client: AsyncOpenAI, model: ModelServer) -> None:
    nonces = [uuid4().hex for _ in range(STREAMS)]

    async def ask(nonce: str) -> str:
        messages = user(" ".join([nonce] * WORDS))
        stream = await client.chat.completions.create(model="assistant", messages=messages, stream=True)
        return text_of([chunk async for chunk in stream])

    answers = await asyncio.gather(*map(ask, nonces))
    assert answers == [" ".join([nonce] * WORDS) for nonce in nonces]
    assert len(model.requests) == STREAMS


async def test_answers_on_both_wires_at_once_are_not_mixed(
    client: AsyncOpenAI, native: Native, model: ModelServer
) -> None:
    nonces = [uuid4().hex for _ in range(60)]

    async def whole(nonce: str) -> str:
        completion = await client.chat.completions.create(model="assistant", messages=user(nonce))
        return completion.choices[0].message.content or ""

    async def over_grpc(nonce: str) -> str:
        return run_text([event async for event in native.stream("assistant", nonce)])

    asked = [(whole if place % 2 else over_grpc)(nonce) for place, nonce in enumerate(nonces)]
    assert await asyncio.gather(*asked) == nonces


async def test_a_slow_answer_holds_up_nobody(client: AsyncOpenAI, model: ModelServer) -> None:
    """Agents and readers share no pool: while many wait for their model, another is answered."""
    gate = asyncio.Event()
    model.enqueue(*[Stream([Hold(gate), *answer("late").actions])] * 40, answer("at once"))
    waiting = [
        asyncio.create_task(client.chat.completions.create(model="assistant", messages=user("wait"))) for _ in range(40)
    ]
    for _ in waiting:
        await model.arrival()
    quick = await client.chat.completions.create(model="assistant", messages=user("quick"))
    assert quick.choices[0].message.content == "at once"
    assert not any(task.done() for task in waiting)
    gate.set()
    assert {one.choices[0].message.content for one in await asyncio.gather(*waiting)} == {"late"}
