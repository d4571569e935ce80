"""The connections to models: what they hold back, and that they go on."""

import asyncio

from breezeway_server.agents.llm.sessions import UpstreamSession

from tests.support.model_server import ModelServer, Raw, Stream

_PIECE = bytes(range(256)) * 1024
_PIECES = 16
# More than aiohttp takes in before it stops reading.
_FULL = 128 * 1024


async def test_an_answer_is_held_back_while_nobody_reads_it_and_comes_whole_afterwards(model: ModelServer) -> None:
    model.enqueue(Stream([Raw(_PIECE)] * _PIECES))
    session = UpstreamSession()
    try:
        url = f"{model.base_url}/chat/completions"
        async with session.get().post(url, json={"model": "m", "messages": []}) as response:
            while response.content.total_bytes <= _FULL:  # noqa: ASYNC110 - aiohttp tells nobody when it stops
                await asyncio.sleep(0)
            held = response.content.total_bytes
            body = b"".join([chunk async for chunk in response.content.iter_any()])
    finally:
        await session.close()
    assert held < len(body) / 2
    assert body == _PIECE * _PIECES


async def test_a_response_holds_neither_the_key_of_its_request_nor_its_own_headers_twice(model: ModelServer) -> None:
    model.enqueue(Stream([Raw(b"data: [DONE]\n\n")]))
    session = UpstreamSession()
    try:
        url, key = f"{model.base_url}/chat/completions", {"Authorization": "Bearer secret"}
        async with session.get().post(url, json={"model": "m", "messages": []}, headers=key) as response:
            assert not response.request_info.headers
            assert not response.raw_headers
            assert response.content_type == "text/event-stream"
            assert await response.read() == b"data: [DONE]\n\n"
    finally:
        await session.close()
