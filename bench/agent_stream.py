"""What a token costs from the upstream's bytes to the step that the agent says, without network or log.

`python -m bench.agent_stream` prints nanoseconds of CPU time a token, the best of several rounds: as a slow upstream
sends (1 event in each read), a busy one (8), and flat out (100). Before and after events were split in one pass, a
token's text was folded in one function, and all that came together was handed on together, on a shared two-core
machine (figures drift by a tenth; what is left is msgspec, 1.4 µs, and at one event a read the generators):

| events a read | before | after |
|---|---|---|
| 1 | 4,600 | 4,900 |
| 8 | 3,600 | 2,700 |
| 100 | 3,300 | 2,400 |
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from typing import cast

from breezeway.v1 import agent_pb2
from breezeway_server.agents.llm.calls import ModelCaller
from breezeway_server.agents.llm.loop import LlmAgent
from breezeway_server.agents.llm.reader import StepReader
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.llm.upstream import Upstream
from breezeway_server.agents.steps import Step
from breezeway_server.agents.tools.toolbox import Toolbox

from tests.support.agents import FakeRun


class RecordedUpstream:
    """An upstream whose response is already here, in reads of a given size."""

    def __init__(self, reads: Sequence[bytes]) -> None:
        self._reads = reads

    def total_deadline(self) -> float:
        return asyncio.get_running_loop().time() + 3600

    host = "bench"

    async def open(
        self, model: str, body: bytes, fold: ModelStream, *, total_until: float, headers: Mapping[str, str]
    ) -> "RecordedAnswer":
        assert body
        return RecordedAnswer(self._reads, StepReader(model, fold))


class RecordedAnswer:
    """What comes of it."""

    def __init__(self, reads: Sequence[bytes], reader: StepReader) -> None:
        self._reads = iter(reads)
        self._reader = reader

    async def read(self) -> list[Step]:
        for read in self._reads:
            if steps := self._reader.feed(read):
                return steps
        return self._reader.finish()

    def close(self) -> None:
        """There is nothing to close."""


def record(tokens: int, events_a_read: int) -> list[bytes]:
    """The reads of an answer of that many tokens, in the form that OpenAI sends."""
    envelope: dict[str, object] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "usage": None,
    }
    choices: list[object] = [
        {"index": 0, "delta": {"content": f"word{n} "}, "logprobs": None, "finish_reason": None} for n in range(tokens)
    ]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    events = [f"data: {json.dumps({**envelope, 'choices': [choice]})}\n\n".encode() for choice in choices]
    events.append(b"data: [DONE]\n\n")
    return [b"".join(events[at : at + events_a_read]) for at in range(0, len(events), events_a_read)]


async def measure(tokens: int, events_a_read: int, rounds: int) -> float:
    """Nanoseconds of CPU time a token, in the best of these rounds."""
    upstream = cast("Upstream", RecordedUpstream(record(tokens, events_a_read)))
    agent = LlmAgent(
        agent_pb2.Agent(name="bench"),
        ModelCaller(upstream, ["m"], retries=0, backoff=0),
        instructions="",
        defaults={},
        toolbox=Toolbox(key="", max_output=1),
        redact=Redactor([]),
        max_iterations=1,
    )
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        steps = 0
        async for _ in agent.run(FakeRun.asking("go")):
            steps += 1
        best = min(best, (time.process_time_ns() - began) / tokens)
        assert steps == tokens
    await agent.close()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="What a token costs from bytes to steps.")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    for events_a_read in (1, 8, 100):
        cost = asyncio.run(measure(arguments.tokens, events_a_read, arguments.rounds))
        print(f"{events_a_read:>4} events a read: {cost:6.0f} ns a token")


if __name__ == "__main__":
    main()
