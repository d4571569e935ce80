"""A model server, and llm agents that call it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from breezeway_server.agents.base import Agent
from breezeway_server.agents.build import build_agents

from tests.support.model_server import ModelServer

KEY = "test-key-0123456789"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

MakeAgent = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with ModelServer.serving() as server:
        yield server


@asynccontextmanager
async def built(table: dict[str, Any], **environ: str) -> AsyncIterator[Agent]:
    """The agent of that table, closed in the end."""
    registry = build_agents({"agents": {"helper": table}}, environ, create_time=NOW)
    agent = registry.get("helper")
    assert agent is not None
    try:
        yield agent
    finally:
        await registry.close()


@pytest.fixture
def llm(model: ModelServer) -> MakeAgent:
    """`async with llm(retries=0) as agent`: an llm agent of the model server, with these keys."""

    def make(**keys: Any) -> AbstractAsyncContextManager[Agent]:
        table = {
            "kind": "llm",
            "model": "first",
            "base_url": model.base_url,
            "api_key": KEY,
            "retries": 0,
            "retry_backoff": 0,
            **keys,
        }
        return built(table)

    return make
