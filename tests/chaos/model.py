"""The model behind the chaos, a process of its own: what it must say is known, and it goes on from what it said.

Asked for `chaos KEY N words`, it says `text(KEY, N)` word by word. Where the messages end with the beginning of that,
which is an answer that was cut, it says the rest. The model `worker` first calls the tool `count` with the key.
"""

import argparse
import asyncio
import re
import signal
from functools import partial

from tests.support.model_server import (
    DONE,
    Action,
    ModelServer,
    Pause,
    Reply,
    Request,
    Stream,
    call,
    calls,
    error,
    finish,
    usage,
)
from tests.support.model_server import text as said

_ASK = re.compile(r"chaos (?P<key>\S+) (?P<words>\d+) words")


def ask(key: str, words: int) -> str:
    """What to put to an agent."""
    return f"chaos {key} {words} words"


def text(key: str, words: int) -> str:
    """The whole answer to that."""
    return "".join(f"{key}.{number} " for number in range(words))


def _content(message: dict[str, object]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else ""


def answer(request: Request, *, pace: float) -> Reply:
    match = _ASK.search(request.last_user_text)
    if match is None:
        return error(400, "no question of the chaos")
    whole = text(match["key"], int(match["words"]))
    last = request.messages[-1]
    if request.body["model"] == "worker" and last["role"] == "user":
        return calls(call("count", {"key": match["key"]}))
    begun = _content(last) if last["role"] == "assistant" else ""
    if not whole.startswith(begun):
        return error(400, "these are not my words")
    actions: list[Action] = []
    for word in re.findall(r"\S+ ?", whole[len(begun) :]):
        actions += [Pause(pace), *said(word)]
    return Stream([*actions, finish(), usage(10, int(match["words"])), DONE])


async def _serve(port: int, pace: float) -> None:
    server = ModelServer(default=partial(answer, pace=pace))
    await server.start(port=port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True, help="seconds between words")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.pace))
