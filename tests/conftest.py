"""What holds for all tests: how they are shared among processors, and how Hypothesis looks for examples."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How fast an example runs says more about the machine than about the code.
settings.register_profile("here", deadline=None, print_blob=True)
# A change must not fail for an example that it has nothing to do with.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# Many tests start processes of their own, and none of them should compile all of the product again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No workers where single files or tests are asked for: they start at once then, and a debugger works."""
    asked = [Path(argument.partition("::")[0]) for argument in config.args]
    return None if any(path.is_dir() for path in asked) else 0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave all that is imported out of the collections of garbage, now and later: there is a lot, and it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
