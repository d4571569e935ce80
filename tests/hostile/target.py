"""The system that is attacked, and whether it is still what it was."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

from tests.support.patience import PATIENCE
from tests.support.system import System

PROCESSES = ("breezeway_server", "breezeway_shim")

_ENVIRON = {
    # What is kept on purpose for minutes would look like growth.
    "BREEZEWAY_MEMORY_RUN_SECONDS": "1",
    "BREEZEWAY_LOG_FORMAT": "json",
    # What is not whole is to be answered soon, and not after a minute.
    "BREEZEWAY_HTTP_HEADER_SECONDS": "0.5",
    "BREEZEWAY_HTTP_BODY_SECONDS": "0.5",
}


@contextmanager
def serving(directory: Path) -> Iterator[System]:
    """A system with the demo agent alone, without keys, which answers anybody on this machine."""
    with System.serving(directory, environ=_ENVIRON) as system:
        yield system


def check_served(system: System) -> list[str]:
    """What is wrong with the answer to an ordinary request; nothing is as it should be."""
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}).encode()
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{system.url}/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - ours
            answer = json.load(response)
    except HTTPError as refused:
        if refused.code != 408:
            raise
        # The machine was too busy to send it in the short time that there is.
        return check_served(system)
    return [] if "4" in answer["choices"][0]["message"]["content"] else [f"an ordinary request got {answer}"]


def check_log(system: System) -> list[str]:
    """The lines of the log that tell of a fault of ours, or that somebody else has written."""
    lines = [line for line in system.output.text.splitlines() if line.startswith("{")]
    faults = [line[:3000] for line in lines if '"level": "error"' in line]
    strange = [line for line in system.output.text.splitlines() if "Traceback" in line or "X-Evil" in line]
    return [*faults[:5], *(line[:2000] for line in strange[:5])]
