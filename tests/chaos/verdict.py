"""The verdict: once all is quiet, every run is read again and compared with what anybody saw of it."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import grpc
from breezeway.v1 import event_pb2, item_pb2, run_pb2, run_service_pb2, stream_service_pb2
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub
from breezeway_server.events.fold import fold
from breezeway_server.events.legal import TERMINAL_KINDS, TERMINAL_STATES, IllegalEvent
from breezeway_shim.dialects.chat_completions.projection import ChatProjection
from breezeway_shim.dialects.responses.projection import ResponseProjection

from tests.chaos.book import Asked, Book, Broken, encoded
from tests.chaos.model import text
from tests.chaos.operators import traces

_PAGE = 100
# What may befall a run here: its model is cut off, or its agent cannot go on after a crash.
_UPSTREAM = frozenset({"UPSTREAM_CUT", "UPSTREAM_UNAVAILABLE", "UPSTREAM_ERROR"})
_EXPECTED_REASONS = {
    "talker": _UPSTREAM,
    "worker": _UPSTREAM,
    "frail": frozenset({"SERVER_RESTARTED"}),
    "demo": frozenset[str](),
}


class Verdict:
    """Compares the book with the store. `runs` and `events` count what there was."""

    def __init__(self, book: Book, port: int, trace_file: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._runs = RunServiceStub(self._channel)
        self._streams = StreamServiceStub(self._channel)
        self._book = book
        self._traces = traces(trace_file)
        self.runs = 0
        self.events = 0

    async def pass_(self, seconds: float) -> None:
        """Wait that long for runs that have not ended, then judge all."""
        try:
            async with asyncio.timeout(seconds):
                for run in await self._all():
                    await self._follow(run.id)
        except TimeoutError:
            pass  # Those that have no end now have none.
        runs = {run.id: run for run in await self._all()}
        by_key: dict[str, list[str]] = {}
        for run in runs.values():
            by_key.setdefault(run.spec.metadata["chaos"], []).append(run.id)
        for key, ids in by_key.items():
            if len(ids) > 1:
                self._book.blame(Broken.DUPLICATED, f"{key}: {len(ids)} runs, {ids}")
        self.runs = len(runs)
        self._judge_turns(list(runs.values()))
        logs = {run_id: await self._judge_run(run) for run_id, run in runs.items()}
        for asked in self._book.asked:
            if asked.run_id and asked.run_id not in runs:
                self._book.blame(Broken.LOST, f"{asked.key}: {asked.run_id} is gone")
            elif asked.run_id:
                self._judge_asked(asked, runs[asked.run_id], logs[asked.run_id])
        await self._channel.close()

    def _judge_turns(self, runs: Sequence[run_pb2.Run]) -> None:
        """Of a conversation, one run begins when the one before it is over, also where both were taken up again."""
        turns = sorted((run for run in runs if run.spec.conversation_id), key=lambda run: run.id)
        begun = [run for run in turns if run.HasField("start_time") and run.HasField("end_time")]
        for before, after in pairwise(begun):
            if after.start_time.ToNanoseconds() < before.end_time.ToNanoseconds():
                self._book.blame(Broken.WRONG, f"{after.id} began before {before.id} was over")

    async def _all(self) -> list[run_pb2.Run]:
        found: list[run_pb2.Run] = []
        token = ""
        while True:
            page = await self._runs.ListRuns(run_service_pb2.ListRunsRequest(page_size=_PAGE, page_token=token))
            found += page.runs
            token = page.next_page_token
            if not token:
                return found

    async def _follow(self, run_id: str) -> list[event_pb2.RunEvent]:
        call = self._streams.FollowRun(stream_service_pb2.FollowRunRequest(run_id=run_id))
        return [event async for batch in call for event in batch.events]

    async def _judge_run(self, run: run_pb2.Run) -> Sequence[event_pb2.RunEvent]:
        """Blame what does not fit within the run itself; return its log."""
        if run.state not in TERMINAL_STATES:
            self._book.blame(Broken.UNFINISHED, f"{run.id} is {run_pb2.RunState.Name(run.state)}")
            return ()
        log = await self._follow(run.id)
        self.events += len(log)
        ends = [event.sequence for event in log if event.WhichOneof("kind") in TERMINAL_KINDS]
        if ends != [len(log)] or [event.sequence for event in log] != list(range(1, len(log) + 1)):
            self._book.blame(Broken.WRONG, f"{run.id}: of {len(log)} events {ends} are ends")
        try:
            folded = fold(run.id, log, run.input).snapshot()
        except IllegalEvent as error:
            self._book.blame(Broken.WRONG, f"{run.id}: {error}")
        else:
            shown = (await self._runs.GetRun(run_service_pb2.GetRunRequest(run_id=run.id))).run
            if folded != shown or folded != run:
                self._book.blame(Broken.WRONG, f"{run.id}: the fold of its log is {folded}, shown is {shown}")
        return log

    def _judge_asked(self, asked: Asked, run: run_pb2.Run, log: Sequence[event_pb2.RunEvent]) -> None:
        there = {event.sequence: encoded(event) for event in log}
        for sequence, seen in asked.events.items():
            if there.get(sequence) != seen:
                what = "another" if sequence in there else "gone"
                self._book.blame(Broken.LOST, f"{asked.key} {run.id}: event {sequence} of {len(there)} is {what}")
        if asked.cancelled_at not in {0, run.last_sequence}:
            message = f"cancelled at {asked.cancelled_at}, and went on to {run.last_sequence}"
            self._book.blame(Broken.WRONG, f"{asked.key} {run.id}: {message}")
        self._judge_end(asked, run)
        self._judge_frames(asked, run, log)
        self._judge_tools(asked, run)

    def _judge_end(self, asked: Asked, run: run_pb2.Run) -> None:
        said = "".join(part.text.text for item in run.output for part in item.message.content)
        completed = run.state == run_pb2.RUN_STATE_COMPLETED
        if asked.agent != "demo":
            whole = text(asked.key, asked.words)
            if not (said == whole if completed else whole.startswith(said)):
                self._book.blame(Broken.WRONG, f"{asked.key} {run.id}: it said {said!r}")
        expected = (
            completed
            or (run.state == run_pb2.RUN_STATE_FAILED and run.error.reason in _EXPECTED_REASONS[asked.agent])
            or (run.state == run_pb2.RUN_STATE_CANCELLED and asked.wire == "grpc, cancelled")
        )
        if not expected:
            end = f"{run_pb2.RunState.Name(run.state)} {run.error.reason} {run.error.message}"
            self._book.blame(Broken.WRONG, f"{asked.key} {run.id}: it ended as {end}")
        if asked.status and (asked.status == 200) is not completed:
            self._book.blame(Broken.WRONG, f"{asked.key} {run.id}: answered {asked.status}, ended {run.state}")

    def _judge_frames(self, asked: Asked, run: run_pb2.Run, log: Sequence[event_pb2.RunEvent]) -> None:
        """A stream that was resumed any number of times is, byte for byte, the one that nothing befell."""
        if not asked.wire.endswith("stream") or asked.status:
            return
        projection = ChatProjection() if asked.wire == "chat stream" else ResponseProjection()
        whole = b"".join(frame for event in log for frame in projection.add(event))
        frames = [frame for frame in whole.split(b"\n\n") if frame]
        if asked.frames != frames:
            at = next((i for i, pair in enumerate(zip(asked.frames, frames, strict=False)) if pair[0] != pair[1]), None)
            at = min(len(frames), len(asked.frames)) if at is None else at
            message = f"frame {at} of {len(frames)} was {asked.frames[at : at + 1]}, and is {frames[at : at + 1]}"
            self._book.blame(Broken.WRONG, f"{asked.key} {run.id}: {message}")

    def _judge_tools(self, asked: Asked, run: run_pb2.Run) -> None:
        if asked.agent != "worker":
            return
        outputs = [item.function_call_output.content[0].text.text for item in run.output if _is_output(item)]
        ran = self._traces.get(asked.key, [])
        if outputs and (len(outputs) > 1 or outputs[0] != ran[-1]):
            self._book.blame(Broken.WRONG, f"{asked.key} {run.id}: the tool ran {ran}, and gave back {outputs}")


def _is_output(item: item_pb2.Item) -> bool:
    return item.HasField("function_call_output")
