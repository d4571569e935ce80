"""What `breezeway serve` says when it is ready."""

from pathlib import Path

import pytest
from breezeway_server.cli.banner import banner

URL = "http://127.0.0.1:8642"


@pytest.mark.parametrize(
    ("models", "tried"),
    [
        (["demo", "assistant"], '"model": "assistant"'),
        (["parrot", "demo"], '"model": "parrot"'),
        ([], '"model": "demo"'),
    ],
)
def test_the_line_to_try_names_an_agent_that_is_there(models: list[str], tried: str) -> None:
    assert tried in banner(URL, "127.0.0.1:50051", models, Path("/data"))


def test_a_key_is_shown_where_one_is_needed_and_nowhere_else() -> None:
    assert '    -H "Authorization: Bearer $BREEZEWAY_API_KEY" \\\n' in banner(URL, "127.0.0.1:50051", [], Path("/data"))
    assert "Authorization" not in banner(URL, "127.0.0.1:50051", ["demo"], Path("/data"))
