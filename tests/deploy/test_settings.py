"""Every variable that `deploy/` and the guides set is one that Breezeway reads."""

import re
from pathlib import Path

import pytest
from breezeway_server.config import ServerSettings
from breezeway_shim.config import ShimSettings

from tests.deploy.files import DEPLOY, ROOT
from tests.test_docs import NAMED

_FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
_GUIDES = [
    ROOT / "docs" / "guides" / f"{name}.md"
    for name in ("open-webui", "librechat", "codex-cli", "langchain", "go-services", "java-services")
]
_KNOWN = {f"BREEZEWAY_{name.upper()}" for each in (ServerSettings, ShimSettings) for name in each.model_fields}


@pytest.mark.parametrize("path", [*_FILES, *_GUIDES], ids=lambda path: path.name)
def test_no_setting_is_misspelled(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"BREEZEWAY_[A-Z_]+[A-Z]", text)) <= _KNOWN | set(NAMED)
