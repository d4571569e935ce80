"""The client without asyncio."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Protocol, Self, TypeVar

import grpc
from breezeway.client.channels import Tls, metadata_of, open_channel
from breezeway.client.errors import error_of, lost
from breezeway.client.progress import Progress
from breezeway.client.requests import PAGE_SIZE, Input, follow_request, items_of, spec_of, stream_request
from breezeway.v1 import (
    agent_pb2,
    conversation_pb2,
    event_pb2,
    item_pb2,
    run_pb2,
    run_service_pb2,
    store_service_pb2,
    stream_service_pb2,
)
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest
from breezeway.v1.agent_registry_service_pb2_grpc import AgentRegistryServiceStub
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.store_service_pb2_grpc import StoreServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class _Batch(Protocol):
    @property
    def events(self) -> Sequence[event_pb2.RunEvent]: ...


class _EventCall(Protocol):
    """A call of StreamRun or FollowRun that is under way."""

    def __iter__(self) -> Iterator[_Batch]: ...

    def cancel(self) -> bool: ...


class Client:
    """A client of the server at `target`, `host:port` or `unix:/path`. Threads may share it; `close` when done.

    Where the server is lost, streams go on from their last event once it is back, and reads are made again; it is
    waited for `reconnect_seconds`, and `on_lost` is called each time that a stream begins to wait. `headers` go along
    with every call. Every call raises `BreezewayError`.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        api_key: str | None = None,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        reconnect_seconds: float = 30.0,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._channel = open_channel(target, tls)
        self._metadata = metadata_of(api_key, headers)
        self._reconnect_seconds = reconnect_seconds
        self._on_lost = on_lost
        self._runs = RunServiceStub(self._channel)
        self._streams = StreamServiceStub(self._channel)
        self._store = StoreServiceStub(self._channel)
        self._agents = AgentRegistryServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; streams that are under way end."""
        self._channel.close()

    def run(
        self, agent: str, given: Input, *, spec: run_pb2.RunSpec | None = None, request_id: str = ""
    ) -> run_pb2.Run:
        """Run to the end, and return the run as it is then; its state says whether it failed or was cancelled."""
        run_id = ""
        events = self.stream(
            agent, given, spec=spec, request_id=request_id, detail=stream_service_pb2.STREAM_DETAIL_ITEMS
        )
        for event in events:
            run_id = event.run_id
        return self.get(run_id)

    def stream(
        self,
        agent: str,
        given: Input,
        *,
        spec: run_pb2.RunSpec | None = None,
        request_id: str = "",
        detail: stream_service_pb2.StreamDetail.ValueType = stream_service_pb2.STREAM_DETAIL_FULL,
        on_disconnect: stream_service_pb2.DisconnectPolicy.ValueType = stream_service_pb2.DISCONNECT_POLICY_CONTINUE,
    ) -> Generator[event_pb2.RunEvent, None, None]:
        """Yield the events of a new run to its end, each once and in order, also over a restart of the server.

        Closing this leaves the run alone, unless `on_disconnect` is CANCEL; the run is then cancelled by a lost
        connection too. With a `request_id` that came before, it is the run of then, from its first event.
        """
        request = stream_request(
            agent, given, spec=spec, request_id=request_id, detail=detail, on_disconnect=on_disconnect
        )
        return self._events(Progress("", 0, self._reconnect_seconds, self._on_lost), detail, request)

    def follow(
        self,
        run_id: str,
        *,
        after: int = 0,
        detail: stream_service_pb2.StreamDetail.ValueType = stream_service_pb2.STREAM_DETAIL_FULL,
    ) -> Generator[event_pb2.RunEvent, None, None]:
        """Yield a run's events above the sequence `after` to its end; closing this leaves the run alone."""
        return self._events(Progress(run_id, after, self._reconnect_seconds, self._on_lost), detail, None)

    def create(
        self, agent: str, given: Input, *, spec: run_pb2.RunSpec | None = None, request_id: str = ""
    ) -> run_pb2.Run:
        """Have a run accepted, and return it as it is then, without waiting for its agent."""
        request = run_service_pb2.CreateRunRequest(
            spec=spec_of(agent, spec), input=items_of(given), request_id=request_id
        )
        return (self._call(self._runs.CreateRun, request)).run

    def get(self, run_id: str) -> run_pb2.Run:
        """A run as it is now, input and output included."""
        return (self._read(self._runs.GetRun, run_service_pb2.GetRunRequest(run_id=run_id))).run

    def list_runs(self, query: run_service_pb2.ListRunsRequest | None = None) -> Generator[run_pb2.Run, None, None]:
        """Yield the stored runs that fit, newest first unless the query says otherwise."""
        wanted = run_service_pb2.ListRunsRequest(page_size=PAGE_SIZE)
        if query is not None:
            wanted.MergeFrom(query)
        while True:
            page = self._read(self._runs.ListRuns, wanted)
            yield from page.runs
            if not page.next_page_token:
                return
            wanted.after_run_id, wanted.page_token = "", page.next_page_token

    def cancel(self, run_id: str) -> run_pb2.Run:
        """Cancel a run, and return it once that has settled; one that is over stays as it is."""
        return (self._call(self._runs.CancelRun, run_service_pb2.CancelRunRequest(run_id=run_id))).run

    def delete(self, run_id: str) -> None:
        """Delete a run with its events and items."""
        self._call(self._runs.DeleteRun, run_service_pb2.DeleteRunRequest(run_id=run_id))

    def resolve_approval(
        self, run_id: str, decision: item_pb2.ApprovalDecision.ValueType, *, approval_id: str = "", reason: str = ""
    ) -> run_pb2.Run:
        """Decide an approval that a run waits for; without `approval_id`, the only one that is open."""
        request = run_service_pb2.ResolveApprovalRequest(
            run_id=run_id, approval_request_id=approval_id, decision=decision, reason=reason
        )
        return (self._call(self._runs.ResolveApproval, request)).run

    def agents(self) -> Sequence[agent_pb2.Agent]:
        """All agents that the caller may run, by name."""
        agents: list[agent_pb2.Agent] = []
        wanted = ListAgentsRequest(page_size=PAGE_SIZE)
        while True:
            page = self._read(self._agents.ListAgents, wanted)
            agents += page.agents
            if not page.next_page_token:
                return agents
            wanted.page_token = page.next_page_token

    def create_conversation(
        self,
        conversation_id: str = "",
        *,
        items: Sequence[item_pb2.Item] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> conversation_pb2.Conversation:
        """Create a conversation, under a name of the caller's where one is given."""
        request = store_service_pb2.CreateConversationRequest(
            conversation_id=conversation_id, items=items, metadata=metadata or {}
        )
        return (self._call(self._store.CreateConversation, request)).conversation

    def get_conversation(self, conversation_id: str) -> conversation_pb2.Conversation:
        """A conversation."""
        request = store_service_pb2.GetConversationRequest(conversation_id=conversation_id)
        return (self._read(self._store.GetConversation, request)).conversation

    def list_conversations(self) -> Generator[conversation_pb2.Conversation, None, None]:
        """Yield all conversations, newest first."""
        wanted = store_service_pb2.ListConversationsRequest(page_size=PAGE_SIZE)
        while True:
            page = self._read(self._store.ListConversations, wanted)
            yield from page.conversations
            if not page.next_page_token:
                return
            wanted.page_token = page.next_page_token

    def list_conversation_items(self, conversation_id: str) -> Generator[item_pb2.Item, None, None]:
        """Yield a conversation's items, oldest first."""
        wanted = store_service_pb2.ListConversationItemsRequest(
            conversation_id=conversation_id, page_size=PAGE_SIZE, ascending=True
        )
        while True:
            page = self._read(self._store.ListConversationItems, wanted)
            yield from page.items
            if not page.has_more:
                return
            wanted.after_item_id = page.items[-1].id

    def delete_conversation(self, conversation_id: str) -> None:
        """Delete a conversation; its runs stay."""
        request = store_service_pb2.DeleteConversationRequest(conversation_id=conversation_id)
        self._call(self._store.DeleteConversation, request)

    def _events(
        self,
        progress: Progress,
        detail: stream_service_pb2.StreamDetail.ValueType,
        request: stream_service_pb2.StreamRunRequest | None,
    ) -> Generator[event_pb2.RunEvent, None, None]:
        """Yield what is left of a run; `request` begins it where it is not known yet."""
        call: _EventCall
        while True:
            progress.opens(time.monotonic())
            if request is not None and not progress.run_id:
                call = self._streams.StreamRun(request, metadata=self._metadata)
            else:
                call = self._streams.FollowRun(follow_request(progress, detail), metadata=self._metadata)
            try:
                for batch in call:
                    for event in batch.events:
                        progress.took(event)
                        yield event
            except grpc.RpcError as error:
                pause = progress.pause_after(error, time.monotonic())
            else:
                progress.ended()
                return
            finally:
                call.cancel()
            time.sleep(pause)

    def _call(self, method: "grpc.UnaryUnaryMultiCallable[Request, Reply]", request: Request) -> Reply:
        try:
            return method(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise error_of(error) from error

    def _read(self, method: "grpc.UnaryUnaryMultiCallable[Request, Reply]", request: Request) -> Reply:
        """Make a call that changes nothing, and so is made a second time where the server was lost."""
        try:
            return method(request, metadata=self._metadata)
        except grpc.RpcError as error:
            if not lost(error) or not self._reconnect_seconds:
                raise error_of(error) from error
        try:
            return method(request, metadata=self._metadata, wait_for_ready=True, timeout=self._reconnect_seconds)
        except grpc.RpcError as error:
            raise error_of(error) from error
