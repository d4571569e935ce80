"""One running system for all guides."""

from collections.abc import Iterator

import pytest

from tests.support.system import System


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System.serving(tmp_path_factory.mktemp("guides")) as system:
        yield system
