"""The examples of the guide to tools, run as they are."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from breezeway_server.agents.base import Approval
from breezeway_server.agents.build import build_agents
from breezeway_server.agents.steps import ToolCallOutput

from tests.server.agents.conftest import NOW
from tests.support.agents import FakeRun, said
from tests.support.model_server import ModelServer, answer, call, calls
from tests.support.system import System

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "tools"
GUIDE = ROOT / "docs" / "guides" / "tools.md"


async def test_the_shop_has_functions_approvals_and_an_mcp_server(
    model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    document: dict[str, Any] = tomllib.loads((EXAMPLES / "breezeway.toml").read_text())
    document["agents"]["shop"] |= {"base_url": model.base_url}
    document["mcp"]["notes"] |= {"command": sys.executable, "cwd": str(EXAMPLES)}
    model.enqueue(
        calls(call("find_order", {"order_id": "A1"}, call_id="c1"), call("find_order", {"order_id": "X"}, at=1)),
        calls(call("cancel_order", {"order_id": "A1", "reason": "too small"}, call_id="c3")),
        calls(call("notes__write_note", {"text": "A1 is cancelled"}, call_id="c4")),
        answer("Done."),
    )
    registry = build_agents(document, {}, create_time=NOW)
    agent = registry.get("shop")
    assert agent is not None
    try:
        run = await FakeRun([said("Cancel A1, it is too small")], decide=Approval(granted=True)).work(agent)
    finally:
        await registry.close()
    outputs = [step for step in run.steps if isinstance(step, ToolCallOutput)]
    texts = {output.content[0].text.text for output in outputs}
    assert texts == {
        '{"id":"A1","item":"a teapot","state":"open"}',
        "There is no order X; ids are A1, A2.",
        "Order A1 is cancelled (too small).",
        "Note 1 is kept.",
    }
    assert list(run.approvals) == ["c3"]
    assert run.text == "Done."


@pytest.mark.parametrize("block", GUIDE.read_text(encoding="utf-8").split("```toml\n")[1:])
def test_the_tables_of_the_guide_are_sound(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    document = tomllib.loads(block.split("```", maxsplit=1)[0])
    registry = build_agents(document, {"OPENAI_API_KEY": "k", "SEARCH_TOKEN": "t"}, create_time=NOW)
    assert registry.infos


def test_a_tool_of_the_caller_makes_the_round(tmp_path: Path) -> None:
    with System.serving(tmp_path) as system:
        environ = system.environ | {"OPENAI_BASE_URL": f"{system.url}/v1", "OPENAI_API_KEY": "none"}
        said_by_it = subprocess.run(
            [sys.executable, EXAMPLES / "caller_tools.py", "demo"],
            env=environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert said_by_it.stdout == 'Your tool "look" returned: a tree (towards demo)\n'
