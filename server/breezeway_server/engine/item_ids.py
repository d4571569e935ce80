"""The ids of a run's items: what kind they are, whose, and which of them."""

from breezeway.v1 import item_pb2

from breezeway_server.events.ids import item_id, run_key

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "approval_request": "apr",
    "approval_response": "aps",
}


def identify(item: item_pb2.Item, run_id: str, position: int) -> None:
    """Give an item its id, and the run that it belongs to."""
    kind = item.WhichOneof("kind")
    assert kind is not None, "only items of a known kind are taken in"
    item.id = item_id(_PREFIXES[kind], run_key(run_id), position)
    item.run_id = run_id
