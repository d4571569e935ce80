"""What clients ask for: drawn from a seed, and told apart by a key."""

from random import Random
from typing import NamedTuple

RETRY_SECONDS = 0.1
"""How long a client that lost its connection waits before it comes back."""

CONVERSATIONS = ("", "chaos")
"""What runs over gRPC are in; empty is none."""

_AGENTS = ("talker", "talker", "worker", "worker", "frail", "demo")


class Work(NamedTuple):
    """One run to ask for."""

    key: str
    agent: str
    words: int


def draw(random: Random, key: str) -> Work:
    """What to ask for next."""
    return Work(key, random.choice(_AGENTS), random.randint(5, 80))
