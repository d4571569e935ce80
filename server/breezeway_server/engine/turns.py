"""Turns: the runs of one conversation come one after the other."""

import asyncio
from collections import defaultdict

from breezeway.v1 import run_pb2

from breezeway_server.engine.locks import KeyedLocks
from breezeway_server.engine.runner import Runner
from breezeway_server.errors import ConversationLocked, ResourceExhausted

_Key = tuple[str, str]

# When the run before will end is nobody's to know.
_RETRY_SECONDS = 1.0


class Turns:
    """Which runs of which conversations are not over, in the order in which they were accepted."""

    def __init__(self, max_queued: int) -> None:
        """`max_queued` is how many runs of one conversation may wait for their turn."""
        self._max_queued = max_queued
        self._runs: defaultdict[_Key, list[Runner]] = defaultdict(list)
        self._locks = KeyedLocks()

    def lock(self, tenant: str, conversation_id: str) -> asyncio.Lock:
        """Return what to hold from a look at a conversation until a run has entered it, and to change it as a whole."""
        return self._locks.of(tenant, conversation_id)

    def enter(self, tenant: str, conversation_id: str, policy: run_pb2.BusyPolicy.ValueType) -> list[Runner]:
        """Return the runs that must settle before a new one may start; with INTERRUPT they are being cancelled.

        Raises `ConversationLocked` where there are some and the policy does not say what to do, and
        `ResourceExhausted` where too many wait already.
        """
        before = self.waiting(tenant, conversation_id)
        if before and policy in {run_pb2.BUSY_POLICY_UNSPECIFIED, run_pb2.BUSY_POLICY_REJECT}:
            raise ConversationLocked(conversation_id, before[0].fold.run_id)
        # The first of them is the one that the others wait for.
        if policy == run_pb2.BUSY_POLICY_QUEUE and len(before) > self._max_queued:
            message = f"{self._max_queued} runs of {conversation_id} wait for their turn, which is the limit."
            raise ResourceExhausted("CONVERSATION_QUEUE_FULL", f"{message} Try again later.", _RETRY_SECONDS)
        if policy == run_pb2.BUSY_POLICY_INTERRUPT:
            for runner in before:
                runner.cancel()
        return before

    def waiting(self, tenant: str, conversation_id: str) -> list[Runner]:
        """Return the runs of a conversation that are not over: whoever has seen the end may go on at once."""
        return [runner for runner in self._runs.get((tenant, conversation_id), ()) if not runner.log.over]

    def busy(self, tenant: str, conversation_id: str) -> str | None:
        """Return the run that the conversation is busy with, if there is one."""
        before = self.waiting(tenant, conversation_id)
        return before[0].fold.run_id if before else None

    def add(self, tenant: str, conversation_id: str, runner: Runner) -> None:
        """Take a run in."""
        self._runs[tenant, conversation_id].append(runner)

    def leave(self, tenant: str, conversation_id: str, runner: Runner) -> None:
        """Let a run go that has settled."""
        runs = self._runs[tenant, conversation_id]
        runs.remove(runner)
        if not runs:
            del self._runs[tenant, conversation_id]
