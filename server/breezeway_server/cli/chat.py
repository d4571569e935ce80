"""`breezeway chat`: a conversation in the terminal, over gRPC."""

import sys
from collections.abc import Iterator
from contextlib import suppress

import grpc
from breezeway.v1 import event_pb2, item_pb2, run_pb2, run_service_pb2, stream_service_pb2
from breezeway.v1.agent_registry_service_pb2 import ListAgentsRequest
from breezeway.v1.agent_registry_service_pb2_grpc import AgentRegistryServiceStub
from breezeway.v1.run_service_pb2_grpc import RunServiceStub
from breezeway.v1.stream_service_pb2_grpc import StreamServiceStub

from breezeway_server.cli.chat_view import ChatView

_HELLO_SECONDS = 5.0
_CANCEL_SECONDS = 30.0
_INTERRUPTED = 130

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    # A server that was restarted is found again at once, not after gRPC's default of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def chat(target: str, agent: str | None) -> int:
    """Chat with an agent of the server at `target` until the input ends, and return the exit status.

    That is 0, or 1 where there is no such server or agent, or where a question of a piped input was not answered.
    """
    view = ChatView()
    with grpc.insecure_channel(target, options=_CHANNEL_OPTIONS) as channel:
        try:
            name = _choose(channel, agent)
        except grpc.RpcError as error:
            view.alarm(_unreachable(target, error))
            return 1
        except LookupError as error:
            view.alarm(str(error))
            return 1
        conversation = Conversation(channel, name, view)
        if sys.stdin.isatty():
            view.note(f"You talk to {name} at {target}. Ctrl-C cancels an answer; Ctrl-D or /quit leaves.")
            return _converse(conversation)
        return _answer_all(conversation)


class Conversation:
    """Turns of one conversation: each is a stored run that goes on from the one before."""

    def __init__(self, channel: grpc.Channel, agent: str, view: ChatView) -> None:
        self._runs = RunServiceStub(channel)
        self._streams = StreamServiceStub(channel)
        self._agent = agent
        self._view = view
        self._previous_run_id = ""
        self._run_id = ""

    def ask(self, text: str) -> bool:
        """Show the answer as it comes; return whether it came to a good end.

        KeyboardInterrupt cancels the run, and is raised again once that has settled.
        """
        self._run_id = ""
        try:
            return self._follow(text)
        except KeyboardInterrupt:
            self._cancel()
            raise
        except grpc.RpcError as error:
            self._view.alarm(_refused(error))
            return False

    def _follow(self, text: str) -> bool:
        answered = False
        for event in self._events(text):
            self._run_id = event.run_id
            self._view.show(event)
            answered = event.HasField("run_completed") or event.HasField("run_incomplete")
        if answered:
            # What failed is not gone on from: the question can be asked again.
            self._previous_run_id = self._run_id
        return answered

    def _events(self, text: str) -> Iterator[event_pb2.RunEvent]:
        said = item_pb2.Message(role=item_pb2.ROLE_USER, content=[item_pb2.ContentPart(text=item_pb2.Text(text=text))])
        request = stream_service_pb2.StreamRunRequest(
            spec=run_pb2.RunSpec(agent=self._agent, previous_run_id=self._previous_run_id),
            input=[item_pb2.Item(message=said)],
            detail=stream_service_pb2.STREAM_DETAIL_FULL,
            # Nobody reads an answer whose chat was closed.
            on_disconnect=stream_service_pb2.DISCONNECT_POLICY_CANCEL,
        )
        last = event_pb2.RunEvent()
        try:
            for batch in self._streams.StreamRun(request):
                for last in batch.events:
                    yield last
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or not last.run_id:
                raise
            self._view.note("The server is gone; waiting for it to come back.")
            follow = stream_service_pb2.FollowRunRequest(run_id=last.run_id, after_sequence=last.sequence)
            for rest in self._streams.FollowRun(follow, wait_for_ready=True):
                yield from rest.events

    def _cancel(self) -> None:
        if not self._run_id:
            # Nothing of the run is known, and it ends with its stream.
            self._view.note("[cancelled]")
            return
        try:
            request = run_service_pb2.CancelRunRequest(run_id=self._run_id)
            self._view.cancelled(self._runs.CancelRun(request, timeout=_CANCEL_SECONDS).run)
        except grpc.RpcError as error:
            self._view.alarm(f"Whether {self._run_id} was cancelled is not known. {_refused(error)}")
        else:
            self._previous_run_id = self._run_id


def _converse(conversation: Conversation) -> int:
    with suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - gives the prompt editing and history, where the platform has it
    while True:
        try:
            text = input("> ").strip()
            if text == "/quit":
                return 0
            if text:
                conversation.ask(text)
        except EOFError:
            sys.stdout.write("\n")
            return 0
        except KeyboardInterrupt:
            sys.stdout.write("\n")


def _answer_all(conversation: Conversation) -> int:
    """One question a line."""
    answered = True
    try:
        for line in sys.stdin:
            text = line.strip()
            if text == "/quit":
                break
            if text:
                answered = conversation.ask(text) and answered
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0 if answered else 1


def _choose(channel: grpc.Channel, wanted: str | None) -> str:
    """The agent's name; LookupError where there is none of that name. The first choice is `assistant`."""
    registry = AgentRegistryServiceStub(channel)
    agents = registry.ListAgents(ListAgentsRequest(page_size=1000), timeout=_HELLO_SECONDS).agents
    names = [agent.name for agent in agents]
    if wanted is None:
        return "assistant" if "assistant" in names else names[0]
    if not any(wanted == agent.name or wanted in agent.aliases for agent in agents):
        raise LookupError(f"There is no agent {wanted}; there are {', '.join(names)}.")
    return wanted


def _unreachable(target: str, error: grpc.RpcError) -> str:
    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return f"No Breezeway server answers at {target}; start one with `breezeway serve`, or name it with --target."
    return _refused(error)


def _refused(error: grpc.RpcError) -> str:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return "The server cannot be reached just now; try again."
    return f"{error.details()} ({error.code().name})"
