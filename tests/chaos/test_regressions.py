"""What the chaos has found, each as the smallest thing that shows it."""

from pathlib import Path

import aiohttp
import grpc
import pytest
from breezeway_server.agents.steps import TextDelta
from breezeway_server.events.run_log import BATCH_BYTES

from tests.support.fake_server import fake_server
from tests.support.patience import PATIENCE
from tests.support.server import PlainAgent, running
from tests.support.shim import serve_shim

_CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(("headers", "status"), [({"Idempotency-Key": "once more"}, 200), ({}, 503)])
async def test_a_call_that_comes_as_the_server_stops_is_not_the_callers_to_answer_for(
    headers: dict[str, str], status: int
) -> None:
    """gRPC's servers end such a call with CANCELLED: whoever can be sure that it is the same run makes it again."""
    async with fake_server() as server, serve_shim(server.target, reconnect_seconds=PATIENCE) as url:
        server.plays("text")
        server.breaks_once = grpc.StatusCode.CANCELLED
        chat = f"{url}/v1/chat/completions"
        async with aiohttp.ClientSession() as http, http.post(chat, json=_CHAT, headers=headers) as response:
            assert response.status == status
            assert status == 200 or "Retry-After" in response.headers


async def test_what_was_said_in_a_flood_is_read_in_small_pieces(tmp_path: Path) -> None:
    """A reader that stalls holds on to one piece: it was the 1 MiB that one commit may have brought."""
    flood = PlainAgent("flood", *[TextDelta("x" * 1000)] * 1000)
    async with running(tmp_path, flood, output_bytes=2_000_000) as stack:
        run_id = await stack.create(agent="flood")
        *deltas, completed, _ = await stack.events(run_id)
        after = 0
        while after < deltas[-1].sequence:
            (piece,) = await stack.store.read_events(run_id, after, 1)
            assert piece.first == after + 1
            assert len(piece.frames) <= BATCH_BYTES or piece.last >= completed.sequence
            after = piece.last
