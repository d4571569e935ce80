"""The fenced blocks of the guides."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(guide: str, language: str) -> list[str]:
    """The code of all blocks of a guide in that language."""
    text = (ROOT / "docs" / "guides" / f"{guide}.md").read_text(encoding="utf-8")
    return [code for fence, code in _FENCE.findall(text) if fence == language]


def only(guide: str, language: str, start: str = "") -> str:
    """The code of the only block in that language that starts so."""
    (found,) = [code for code in blocks(guide, language) if code.startswith(start)]
    return found
