"""The names of the limits at which runs and items end early."""

from breezeway.v1 import item_pb2


def limit_name(reason: item_pb2.IncompleteReason.ValueType) -> str:
    """The limit at which something ended early, as `max_output_tokens`."""
    value = item_pb2.IncompleteReason.DESCRIPTOR.values_by_number.get(reason)
    # A limit that is newer than this reader has no name here.
    return value.name.removeprefix("INCOMPLETE_REASON_").lower() if value else "unknown"
