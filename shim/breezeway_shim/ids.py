"""The three spellings of a run's id: `run_X`, `resp_X` and `chatcmpl-X` with the same 32 hexadecimal digits X.

The ids of a run's items hold these digits too.
"""

import re

_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})[0-9a-f]{6,}")
_RUN_ID = re.compile(r"(?:run_|resp_|chatcmpl-)([0-9a-f]{32})")


def _digits(run_id: str) -> str:
    return run_id.removeprefix("run_").removeprefix("resp_").removeprefix("chatcmpl-")


def response_id(run_id: str) -> str:
    """`resp_X` of any spelling."""
    return f"resp_{_digits(run_id)}"


def chat_completion_id(run_id: str) -> str:
    """`chatcmpl-X` of any spelling."""
    return f"chatcmpl-{_digits(run_id)}"


def run_id_in(item_id: str) -> str | None:
    """`run_X` of the run whose digits an item's id holds; None where the text is no item's id."""
    match = _ITEM_ID.fullmatch(item_id)
    return f"run_{match[1]}" if match else None


def is_run_id(text: str) -> bool:
    """Is this a run's id in any of its spellings? Whether there is such a run only the server knows."""
    return _RUN_ID.fullmatch(text) is not None
