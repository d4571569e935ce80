"""Real MCP servers: as a program over stdio, and over streamable HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from breezeway.v1 import item_pb2
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.mcp.config import McpConfig, mcp_configs, secrets_of
from breezeway_server.agents.mcp.listing import describer
from breezeway_server.agents.mcp.server import McpServer
from breezeway_server.agents.mcp.tools import McpTools
from breezeway_server.agents.mcp.transports import transport_of
from breezeway_server.agents.tools.base import Tool, ToolResult, text_result

from tests.support.mcp_servers import HttpServer, stdio_table
from tests.support.patience import PATIENCE
from tests.support.system import ReservedPort

AWAY = text_result('The server "t" of this tool cannot be reached; try again later.', is_error=True)


def _config(table: dict[str, Any]) -> McpConfig:
    return mcp_configs({"mcp": {"t": table}})["t"]


@asynccontextmanager
async def _server(table: dict[str, Any], **environ: str) -> AsyncIterator[McpServer]:
    """The server of that table; nothing of it is left afterwards."""
    config = _config(table)
    server = McpServer(
        "t",
        transport_of(config, secrets_of("t", config, environ)),
        describer("t", config),
        connect_timeout=config.connect_timeout,
        call_timeout=config.call_timeout,
        redact=Redactor([]),
        backoff=0.01,
    )
    before = asyncio.all_tasks()
    try:
        yield server
    finally:
        await server.close()
    await server.tools()
    # What a closed server is asked begins nothing and waits for nothing. Generators that the package dropped are
    # closed by the loop, in tasks of the loop's own.
    assert not [task for task in asyncio.all_tasks() - before if "async_generator_athrow" not in repr(task)]


async def _tools(server: McpServer, *, images: bool = True) -> dict[str, Tool]:
    return {tool.name: tool for tool in await McpTools(server, approval="never", images=images).tools()}


def _ignore(line: str) -> None:
    pass


async def _until(server: McpServer, name: str, arguments: str, result: ToolResult) -> None:
    """Call until the server is back and answers so."""
    async with asyncio.timeout(PATIENCE):
        while await (await _tools(server))[name].call(arguments, _ignore) != result:  # noqa: ASYNC110 - as below
            await asyncio.sleep(0)  # nobody tells that a server is back


@pytest.fixture(params=["stdio", "http"])
async def table(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Any]]:
    if request.param == "stdio":
        yield stdio_table()
    else:
        async with HttpServer.serving() as http:
            yield {"url": http.url}


async def test_its_tools_are_described_and_called(table: dict[str, Any]) -> None:
    async with _server(table) as server:
        tools = await _tools(server)
        assert tools["t__add"].description == "Adds two numbers."
        assert b'"integer"' in tools["t__add"].parameters
        assert await tools["t__add"].call('{"a": 1, "b": 2}', _ignore) == text_result("3")
        assert await tools["t__page"].call("", _ignore) == text_result("memo://one:\na memo")
        failed = await tools["t__fails"].call("{}", _ignore)
        assert failed.is_error
        unfit = await tools["t__add"].call("[1", _ignore)
        assert unfit.is_error
        assert unfit.content[0].text.text.startswith("The arguments do not fit: ")
        large = await tools["t__big"].call('{"size": 1000000}', _ignore)
        assert len(large.content[0].text.text) == 1_000_000
        [odd] = [tool for name, tool in tools.items() if name.startswith("t__with_dots_")]
        assert await odd.call("{}", _ignore) == text_result("dotted")


async def test_images_are_shown_to_agents_that_take_them(table: dict[str, Any]) -> None:
    async with _server(table) as server:
        [part] = (await (await _tools(server))["t__picture"].call("{}", _ignore)).content
        assert part.image.url.startswith("data:image/png;base64,")
        [note] = (await (await _tools(server, images=False))["t__picture"].call("{}", _ignore)).content
        assert note == item_pb2.ContentPart(text=item_pb2.Text(text="[image, image/png, 70 bytes, not shown]"))


async def test_progress_is_told_and_a_cancelled_call_is_cancelled_there(table: dict[str, Any]) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with _server(table) as server:
        tools = await _tools(server)
        call = asyncio.create_task(tools["t__waits"].call("{}", told.put_nowait))
        assert await told.get() == "half way"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await tools["t__cancelled"].call("{}", _ignore) == text_result("cancelled")


async def test_a_changed_list_is_read_anew(table: dict[str, Any]) -> None:
    async with _server(table) as server:
        await (await _tools(server))["t__grow"].call("{}", _ignore)
        async with asyncio.timeout(PATIENCE):
            while "t__grown" not in (tools := await _tools(server)):
                await tools["t__add"].call('{"a": 1, "b": 2}', _ignore)
        assert await tools["t__grown"].call("{}", _ignore) == text_result("new")


async def test_a_call_that_takes_too_long_is_given_up(table: dict[str, Any]) -> None:
    async with _server({**table, "call_timeout": 0.2}) as server:
        result = await (await _tools(server))["t__waits"].call("{}", _ignore)
    assert result == text_result("The tool did not answer within 0.2 seconds.", is_error=True)


async def test_a_program_that_dies_is_begun_anew() -> None:
    async with _server(stdio_table()) as server:
        tools = await _tools(server)
        assert await tools["t__dies"].call("{}", _ignore) == AWAY
        assert await tools["t__add"].call('{"a": 1, "b": 2}', _ignore) == text_result("3")


async def test_a_message_beyond_all_bounds_is_cut_off_and_the_program_begun_anew() -> None:
    async with _server(stdio_table()) as server:
        tools = await _tools(server)
        assert await tools["t__big"].call('{"size": 20000000}', _ignore) == AWAY
        assert await tools["t__add"].call('{"a": 1, "b": 2}', _ignore) == text_result("3")


async def test_a_server_behind_a_url_may_go_and_come_back() -> None:
    async with HttpServer.serving() as http, _server({"url": http.url}) as server:
        add = (await _tools(server))["t__add"]
        await http.stop()
        result = await add.call('{"a": 1, "b": 2}', _ignore)
        assert result.is_error
        assert "t__add" in await _tools(server), "what it offered is still known"
        await http.start()
        await _until(server, "t__add", '{"a": 1, "b": 2}', text_result("3"))


@pytest.mark.parametrize("missing", ["command", "url"])
async def test_a_server_that_is_not_there_has_no_tools(missing: str) -> None:
    with ReservedPort.reserved() as nobody:
        tables: dict[str, dict[str, Any]] = {
            "command": {"command": "/no/such/program"},
            "url": {"url": f"http://127.0.0.1:{nobody.number}/mcp"},
        }
        async with _server(tables[missing]) as server:
            assert await _tools(server) == {}


async def test_a_program_that_never_answers_is_given_up_and_ended() -> None:
    async with _server({"command": "cat", "connect_timeout": 0.2}) as server:
        assert await _tools(server) == {}


async def test_a_program_gets_the_variables_of_its_table_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "ours")
    table = stdio_table(env={"ONE": "1"}, env_from=["TWO"])
    async with _server(table, TWO="2") as server:
        variable = (await _tools(server))["t__variable"]
        answers = [await variable.call(f'{{"name": "{name}"}}', _ignore) for name in ("ONE", "TWO", "SECRET")]
    assert answers == [text_result(text) for text in ("1", "2", "")]
