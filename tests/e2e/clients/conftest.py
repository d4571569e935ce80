"""Clients in other languages."""

from collections.abc import Iterator

import pytest

from tests.e2e.clients.node import Node, install
from tests.support.system import System


@pytest.fixture(scope="session")
def node(system: System) -> Iterator[Node]:
    install()
    node = Node(f"{system.url}/v1")
    yield node
    node.close()
