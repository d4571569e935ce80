"""One running system for all cases, a model server for each, and the clients."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import grpc
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.native import Native
from tests.e2e.sdk import AsyncSdk, Sdk, SyncSdk
from tests.support.model_server import ModelServer
from tests.support.patience import PATIENCE
from tests.support.system import ReservedPort, System

KEY = "sk-operator-0123456789abcdef"
"""The operator's key for the model, which no caller may ever see."""

_CONFIG = """
# An agent that tries once, for failures that must not be mended.
[agents.once]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
api_key_env = "OPENAI_API_KEY"
retries = 0

[agents.impatient]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
retries = 0
first_token_timeout = 0.3

# It waits for the first piece as long as a busy machine takes, and for no other.
[agents.halfhearted]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
retries = 0
idle_timeout = 0.3

[agents.hasty]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
retries = 0
total_timeout = 0.3

# Nobody listens there.
[agents.unreachable]
kind = "llm"
model = "scripted"
base_url = "http://127.0.0.1:{closed}/v1"
retries = 0

[agents.careful]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
fallback_models = ["spare"]
instructions = "Be careful."
retries = 0

[agents.tooled]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
tools = ["operators_tools:weather"]

[agents.asking]
kind = "llm"
aliases = ["polite"]
model = "scripted"
base_url = "{upstream}"
tools = [{{ path = "operators_tools:weather", approval = "required" }}]
"""

_TOOLS = '''
"""An operator's tools."""


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"
'''


@pytest.fixture(scope="session")
def upstream() -> Iterator[ReservedPort]:
    """Where the system looks for its model: each test starts a model server of its own there."""
    with ReservedPort.reserved() as port:
        yield port


@pytest.fixture(scope="session")
def system(upstream: ReservedPort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("system")
    (directory / "operators_tools.py").write_text(_TOOLS, encoding="utf-8")
    base_url = f"http://127.0.0.1:{upstream.number}/v1"
    environ = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": KEY, "BREEZEWAY_MODEL": "scripted"}
    with ReservedPort.reserved() as closed:
        config = _CONFIG.format(upstream=base_url, closed=closed.number)
        with System.serving(directory, environ=environ, config=config) as system:
            yield system


@pytest.fixture
async def model(upstream: ReservedPort) -> AsyncIterator[ModelServer]:
    server = ModelServer()
    await server.start(port=upstream.number)
    yield server
    await server.close()


@pytest.fixture
async def client(system: System) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def sync_client(system: System) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(params=["async", "sync"])
def sdk(request: pytest.FixtureRequest, client: AsyncOpenAI, sync_client: OpenAI) -> Sdk:
    return AsyncSdk(client) if request.param == "async" else SyncSdk(sync_client)


@pytest.fixture
async def http(system: System) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(system.url) as session:
        yield session


@pytest.fixture
async def native(system: System) -> AsyncIterator[Native]:
    async with grpc.aio.insecure_channel(system.grpc_target) as channel:
        yield Native(channel)
