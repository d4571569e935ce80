"""RunService: the life of runs."""

from collections.abc import Sequence

from breezeway.v1 import item_pb2, run_pb2, run_service_pb2, run_service_pb2_grpc, stream_service_pb2

from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import InvalidRequest, NotFound, ResourceExhausted
from breezeway_server.services import validation
from breezeway_server.services.caller import Caller, current_caller, current_tenant
from breezeway_server.services.context import Context
from breezeway_server.services.idempotency import body_hash
from breezeway_server.services.rates import rate_metadata, tell_rates
from breezeway_server.store.base import RunFilter, Store

_DEFAULT_PAGE = 20


async def create(
    supervisor: Supervisor,
    caller: Caller,
    spec: run_pb2.RunSpec,
    items: Sequence[item_pb2.Item],
    request_id: str,
) -> str:
    """Validate a run and have it accepted; return its id."""
    checked = validation.spec(spec)
    validation.items(items, checked)
    validation.request_id(request_id)
    request_hash = body_hash(run_service_pb2.CreateRunRequest(spec=spec, input=items)) if request_id else b""
    try:
        return await supervisor.intake.create(
            caller.tenant,
            checked,
            items,
            request_id=request_id,
            request_hash=request_hash,
            agents=caller.agents,
            allowance=caller.allowance,
        )
    except ResourceExhausted as error:
        error.metadata = rate_metadata(supervisor, caller)
        raise


def cancels(request: stream_service_pb2.StreamRunRequest) -> bool:
    """Return whether the run is to be cancelled when the client that started it goes away."""
    if request.on_disconnect == stream_service_pb2.DISCONNECT_POLICY_UNSPECIFIED:
        return request.spec.durability == run_pb2.DURABILITY_MEMORY and not request.request_id
    return request.on_disconnect == stream_service_pb2.DISCONNECT_POLICY_CANCEL


class RunService(run_service_pb2_grpc.RunServiceServicer):
    """Validates and translates; the supervisor does the work."""

    def __init__(self, supervisor: Supervisor, store: Store) -> None:
        self._supervisor = supervisor
        self._store = store

    async def CreateRun(
        self, request: run_service_pb2.CreateRunRequest, context: Context
    ) -> run_service_pb2.CreateRunResponse:
        """See run_service.proto."""
        caller = current_caller()
        run_id = await create(self._supervisor, caller, request.spec, request.input, request.request_id)
        await tell_rates(self._supervisor, caller, context)
        return run_service_pb2.CreateRunResponse(run=await self._supervisor.get(current_tenant(), run_id))

    async def GetRun(self, request: run_service_pb2.GetRunRequest, context: Context) -> run_service_pb2.GetRunResponse:
        """See run_service.proto."""
        run = await self._supervisor.get(current_tenant(), validation.run_id(request.run_id))
        return run_service_pb2.GetRunResponse(run=run)

    async def ListRuns(
        self, request: run_service_pb2.ListRunsRequest, context: Context
    ) -> run_service_pb2.ListRunsResponse:
        """See run_service.proto."""
        if request.page_token and request.after_run_id:
            raise InvalidRequest("after_run_id", "Give page_token or after_run_id, not both.")
        size = validation.page_size(request.page_size, _DEFAULT_PAGE)
        # A page token is the id of the page's last run: it stays good whatever is created or deleted meanwhile.
        after = request.after_run_id or request.page_token
        if after:
            field = "after_run_id" if request.after_run_id else "page_token"
            after = _after(after, field)
            if request.after_run_id and await self._store.run_head(current_tenant(), after) is None:
                raise NotFound("RUN_NOT_FOUND", f"There is no run {request.after_run_id[:64]!r} to list after.")
        query = RunFilter(
            after_run_id=after,
            ascending=request.ascending,
            limit=size + 1,
            agent=request.agent,
            dialect=request.dialect,
            conversation_id=request.conversation_id,
            states=request.states,
            metadata=request.metadata,
        )
        found = await self._store.list_runs(current_tenant(), query)
        token = found[size - 1].id if len(found) > size else ""
        return run_service_pb2.ListRunsResponse(runs=found[:size], next_page_token=token)

    async def UpdateRun(
        self, request: run_service_pb2.UpdateRunRequest, context: Context
    ) -> run_service_pb2.UpdateRunResponse:
        """See run_service.proto."""
        run_id = validation.run_id(request.run_id)
        validation.metadata(request.metadata, "metadata")
        run = await self._supervisor.update_metadata(current_tenant(), run_id, request.metadata)
        return run_service_pb2.UpdateRunResponse(run=run)

    async def CancelRun(
        self, request: run_service_pb2.CancelRunRequest, context: Context
    ) -> run_service_pb2.CancelRunResponse:
        """See run_service.proto."""
        run = await self._supervisor.cancel(current_tenant(), validation.run_id(request.run_id))
        return run_service_pb2.CancelRunResponse(run=run)

    async def DeleteRun(
        self, request: run_service_pb2.DeleteRunRequest, context: Context
    ) -> run_service_pb2.DeleteRunResponse:
        """See run_service.proto."""
        await self._supervisor.delete(current_tenant(), validation.run_id(request.run_id))
        return run_service_pb2.DeleteRunResponse()

    async def ResolveApproval(
        self, request: run_service_pb2.ResolveApprovalRequest, context: Context
    ) -> run_service_pb2.ResolveApprovalResponse:
        """See run_service.proto."""
        if request.decision == item_pb2.APPROVAL_DECISION_UNSPECIFIED:
            raise InvalidRequest("decision", "decision is missing; it is ONCE, SESSION, ALWAYS or DENY.")
        run = await self._supervisor.resolve_approval(
            current_tenant(),
            validation.run_id(request.run_id),
            request.approval_request_id,
            request.decision,
            request.reason,
        )
        return run_service_pb2.ResolveApprovalResponse(run=run)

    async def CountTokens(
        self, request: run_service_pb2.CountTokensRequest, context: Context
    ) -> run_service_pb2.CountTokensResponse:
        """See run_service.proto."""
        checked = validation.spec(request.spec)
        validation.items(request.input, checked)
        caller = current_caller()
        tokens = await self._supervisor.intake.count_tokens(caller.tenant, checked, request.input, agents=caller.agents)
        return run_service_pb2.CountTokensResponse(input_tokens=tokens)


def _after(text: str, field: str) -> str:
    try:
        return validation.run_id(text)
    except NotFound as error:
        if field == "page_token":
            raise InvalidRequest(field, "page_token is none that ListRuns gave.") from error
        raise
