"""The code of the guide to LangChain, run as it stands."""

import subprocess
import sys

import pytest

from tests.guides.blocks import blocks
from tests.support.system import System


@pytest.mark.parametrize("code", blocks("langchain", "python"), ids=["questions", "tools", "conversations"])
def test_the_guide_to_langchain_works(system: System, code: str) -> None:
    here = code.replace("http://127.0.0.1:8642", system.url)
    assert here != code
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "multiply" in done.stdout if "bind_tools" in code else "42" in done.stdout
