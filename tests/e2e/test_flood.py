"""An agent that says more at once than a log keeps in memory: its stream is whole, and its run is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from breezeway.client import Client
from openai import OpenAI

from tests.e2e.sdk import user
from tests.support.system import System

PIECES = 512
PIECE = 16 * 1024

_CODE = f"""
async def flood(context):
    for number in range({PIECES}):
        yield f"{{number:08}}".ljust({PIECE}, "x")
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    (tmp_path / "flooding.py").write_text(_CODE, encoding="utf-8")
    config = '[agents.flood]\nkind = "python"\npath = "flooding:flood"\n'
    environ = {"BREEZEWAY_MAX_OUTPUT_BYTES": str(2 * PIECES * PIECE)}
    with System.serving(tmp_path, environ=environ, config=config) as system:
        yield system


@pytest.mark.parametrize("store", [True, False])
def test_a_flood_streams_whole_and_begins_one_run(own: System, *, store: bool) -> None:
    with OpenAI(base_url=f"{own.url}/v1", api_key="unused", max_retries=0) as client:
        stream = client.chat.completions.create(model="flood", messages=user("go"), stream=True, store=store)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert said == "".join(f"{number:08}".ljust(PIECE, "x") for number in range(PIECES))
    with Client(f"127.0.0.1:{own.grpc_port}") as native:
        assert len(list(native.list_runs())) == store, "what is not stored is not listed"
