"""Where a turn begins among items."""

from collections.abc import Sequence

from breezeway.v1 import item_pb2


def turn_start(items: Sequence[item_pb2.Item]) -> int:
    """Return the index of the first item after the agent's last message or call: what the caller has just added."""
    for index in range(len(items) - 1, -1, -1):
        item = items[index]
        if item.message.role == item_pb2.ROLE_ASSISTANT or item.HasField("function_call"):
            return index + 1
    return 0
