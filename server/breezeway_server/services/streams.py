"""StreamService: the events of runs, live and again.

Its answers are frames that the log has encoded once (`events.framing`), so they are sent as they are.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from breezeway.telemetry.traces import Tracer
from breezeway.v1 import stream_service_pb2

from breezeway_server.engine.supervisor import Supervisor
from breezeway_server.errors import BreezewayError
from breezeway_server.services import runs, validation
from breezeway_server.services.access import Gate
from breezeway_server.services.arrival import link_to_run
from breezeway_server.services.caller import current_caller, current_tenant
from breezeway_server.services.context import Context
from breezeway_server.services.interceptor import abort, status_of
from breezeway_server.services.malformed import tolerant
from breezeway_server.services.multiplex import Multiplex
from breezeway_server.services.rates import tell_rates

_NAME = stream_service_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name


class StreamService:
    """Follows runs with the logs' own bytes."""

    def __init__(self, supervisor: Supervisor, gate: Gate, tracer: Tracer) -> None:
        self._supervisor = supervisor
        self._tracer = tracer
        self._gate = gate

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what to register at a server. Without a serializer grpc sends bytes as they are."""
        return grpc.method_handlers_generic_handler(
            _NAME,
            {
                "StreamRun": grpc.unary_stream_rpc_method_handler(
                    self.stream_run, request_deserializer=stream_service_pb2.StreamRunRequest.FromString
                ),
                "MultiplexRuns": grpc.stream_stream_rpc_method_handler(
                    self.multiplex_runs,
                    request_deserializer=tolerant(stream_service_pb2.MultiplexRunsRequest.FromString),
                ),
                "FollowRun": grpc.unary_stream_rpc_method_handler(
                    self.follow_run, request_deserializer=stream_service_pb2.FollowRunRequest.FromString
                ),
            },
        )

    async def stream_run(self, request: stream_service_pb2.StreamRunRequest, context: Context) -> None:
        """See stream_service.proto."""
        caller = current_caller()
        run_id = await runs.create(self._supervisor, caller, request.spec, request.input, request.request_id)
        try:
            # With a request id it may be one that another call began.
            await link_to_run(self._supervisor, caller.tenant, run_id)
            await tell_rates(self._supervisor, caller, context)
            await self._send(run_id, 0, request.detail, context)
        finally:
            # However the stream ended: a run that is over stays as it is.
            if runs.cancels(request):
                self._supervisor.cancel_soon(caller.tenant, run_id)

    async def follow_run(self, request: stream_service_pb2.FollowRunRequest, context: Context) -> None:
        """See stream_service.proto."""
        run_id = validation.run_id(request.run_id)
        await link_to_run(self._supervisor, current_tenant(), run_id)
        await self._send(run_id, request.after_sequence, request.detail, context)

    async def multiplex_runs(
        self, requests: AsyncIterator[stream_service_pb2.MultiplexRunsRequest], context: Context
    ) -> None:
        """See stream_service.proto."""
        try:
            await Multiplex(self._supervisor, self._gate, context, self._tracer).serve(requests)
        except BreezewayError as error:
            await abort(context, status_of(error))

    async def _send(
        self, run_id: str, after: int, detail: stream_service_pb2.StreamDetail.ValueType, context: Context
    ) -> None:
        milestones = detail == stream_service_pb2.STREAM_DETAIL_ITEMS
        async with aclosing(
            self._supervisor.follow(current_tenant(), run_id, after=after, milestones=milestones)
        ) as batches:
            async for frames in batches:
                await context.write(frames)
