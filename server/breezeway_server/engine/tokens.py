"""An estimate of the tokens that items take, for callers who plan ahead; models count for themselves."""

from collections.abc import Iterable

from breezeway.v1 import item_pb2

# English text has about four bytes a token in the vocabularies of today's models.
_BYTES_PER_TOKEN = 4
# Role and delimiters around each message.
_PER_ITEM = 4
# What a picture costs at low detail with OpenAI's models.
_PER_IMAGE = 85


def estimate(texts: Iterable[str], items: Iterable[item_pb2.Item]) -> int:
    """Return about how many tokens a model reads for these instructions and tools, and these items."""
    size, fixed = sum(len(text.encode()) for text in texts), 0
    for item in items:
        fixed += _PER_ITEM
        size += len(item.function_call.name) + len(item.function_call.arguments.encode())
        size += sum(len(text.encode()) for text in (*item.reasoning.summary, *item.reasoning.content))
        for part in (*item.message.content, *item.function_call_output.content):
            size += len(part.text.text.encode()) + len(part.refusal.text.encode()) + len(part.file.data)
            fixed += _PER_IMAGE if part.HasField("image") else 0
    return fixed + -(-size // _BYTES_PER_TOKEN)
