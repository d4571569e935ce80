"""Approvals: an agent waits for somebody's leave, and the run's clock stands still."""

import asyncio
from typing import Protocol

from breezeway.v1 import event_pb2, item_pb2

from breezeway_server.agents.base import Approval
from breezeway_server.engine.recorder import Recorder
from breezeway_server.engine.time_limit import TimeLimit
from breezeway_server.errors import FailedPrecondition, NotFound
from breezeway_server.events.fold import RunFold
from breezeway_server.events.run_log import RunLog


class Grants(Protocol):
    """Who remembers leave that was given for a conversation, or for good."""

    async def granted(self, tenant: str, agent: str, tool: str, scope: str) -> bool:
        """Return whether there is leave for a tool in this scope, or in all."""


def scope_of(fold: RunFold) -> str:
    """Return what leave for the session covers: the run's conversation, or where there is none the run alone."""
    return fold.spec.conversation_id or fold.run_id


class Approvals:
    """What one run has asked leave for; what was decided stands in its log."""

    __slots__ = ("_fold", "_grants", "_limit", "_log", "_recorder", "_tenant", "_waiting")

    def __init__(
        self, tenant: str, fold: RunFold, run_log: RunLog, recorder: Recorder, *, grants: Grants, limit: TimeLimit
    ) -> None:
        """`limit` has started, and stands still while somebody is waited for."""
        self._tenant = tenant
        self._fold = fold
        self._log = run_log
        self._recorder = recorder
        self._grants = grants
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._limit = limit

    async def wait(self, call_id: str) -> Approval:
        """Ask for leave unless that was done before, and return the decision once it is durable."""
        request_id = self._request_of(call_id)
        if request_id is None:
            name = next(item.function_call.name for item in self._fold.completed if _is_call(item, call_id))
            if await self._grants.granted(self._tenant, self._fold.spec.agent, name, scope_of(self._fold)):
                return Approval(granted=True)
            request_id = self._recorder.request_approval(call_id)
        if self._fold.approvals[request_id] is None:
            await self._decided(request_id)
        await self._log.reach(self._log.last)
        resolved = self._fold.approvals[request_id]
        assert resolved is not None, "the future is set after the decision"
        return _approval(resolved)

    async def _decided(self, request_id: str) -> None:
        if not self._waiting:
            self._limit.stop()
        decided = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            await decided
        finally:
            del self._waiting[request_id]
            if not self._waiting:
                self._limit.start()

    def _request_of(self, call_id: str) -> str | None:
        for item in self._fold.completed:
            if item.approval_request.call_id == call_id:
                return item.id
        return None

    def find(self, request_id: str) -> item_pb2.ApprovalRequest:
        """Return an open request; an empty id means the only one that is open. Raises as `ResolveApproval` says."""
        waiting = [item_id for item_id, resolved in self._fold.approvals.items() if resolved is None]
        if not request_id and len(waiting) == 1:
            request_id = waiting[0]
        if request_id not in self._fold.approvals:
            which = f"no approval {request_id[:64]!r}"
            if not request_id:
                which = "several approvals; name one" if waiting else "no approval"
            message = f"{self._fold.run_id} waits for {which}."
            raise NotFound("APPROVAL_NOT_FOUND", message, field="approval_request_id")
        if request_id not in waiting or self._fold.over:
            message = f"Approval {request_id} was decided before."
            raise FailedPrecondition("APPROVAL_ALREADY_RESOLVED", message)
        return next(item.approval_request for item in self._fold.completed if item.id == request_id)

    async def resolve(self, call_id: str, decision: item_pb2.ApprovalDecision.ValueType, reason: str) -> None:
        """Decide an open request; durable on return. Raises as `find` where somebody was faster."""
        request_id = self._request_of(call_id) or ""
        self.find(request_id)
        self._recorder.resolve_approval(request_id, decision, reason)
        sequence = self._log.last
        waiter = self._waiting.get(request_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        await self._log.reach(sequence)


def _is_call(item: item_pb2.Item, call_id: str) -> bool:
    return item.HasField("function_call") and item.function_call.call_id == call_id


def _approval(resolved: event_pb2.ApprovalResolved) -> Approval:
    return Approval(granted=resolved.decision != item_pb2.APPROVAL_DECISION_DENY, reason=resolved.reason)
