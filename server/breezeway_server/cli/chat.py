"""`breezeway chat`: a conversation in the terminal, over gRPC."""

import sys
from contextlib import closing, suppress

from breezeway.client import BreezewayError, Client
from breezeway.v1 import run_pb2, stream_service_pb2

from breezeway_server.cli.chat_view import ChatView
from breezeway_server.cli.connection import FAILED, INTERRUPTED, Connection, told

# How long a server that is lost in the middle of an answer is waited for.
_PATIENCE = 300.0


def chat(connection: Connection, agent: str | None) -> int:
    """Chat with an agent of the server until the input ends, and return the exit status.

    That is 0, or 1 where there is no such agent, or where a question of a piped input was not answered. Ends the
    process with 1 where the server cannot be asked.
    """
    view = ChatView(waiting="Ctrl-C cancels the run")
    try:
        with told(connection), connection.client() as client:
            name = _choose(client, agent)
    except LookupError as error:
        view.alarm(str(error))
        return FAILED

    def on_lost() -> None:
        view.note("The server is gone; waiting for it to come back.")

    with connection.client(patience=_PATIENCE, on_lost=on_lost) as client:
        conversation = Conversation(connection, client, name, view)
        if sys.stdin.isatty():
            view.note(f"You talk to {name} at {connection.target}. Ctrl-C cancels an answer; Ctrl-D or /quit leaves.")
            return _converse(conversation)
        return _answer_all(conversation)


class Conversation:
    """Turns of one conversation: each is a stored run that goes on from the one before."""

    def __init__(self, connection: Connection, client: Client, agent: str, view: ChatView) -> None:
        self._connection = connection
        self._client = client
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
        except BreezewayError as error:
            self._view.alarm(self._connection.explain(error))
            return False

    def _follow(self, text: str) -> bool:
        answered = False
        events = self._client.stream(
            self._agent,
            text,
            spec=run_pb2.RunSpec(previous_run_id=self._previous_run_id),
            # Nobody reads an answer whose chat was closed.
            on_disconnect=stream_service_pb2.DISCONNECT_POLICY_CANCEL,
        )
        with closing(events):
            for event in events:
                self._run_id = event.run_id
                self._view.show(event)
                answered = event.HasField("run_completed") or event.HasField("run_incomplete")
        if answered:
            # What failed is not gone on from: the question can be asked again.
            self._previous_run_id = self._run_id
        return answered

    def _cancel(self) -> None:
        if not self._run_id:
            # Nothing of the run is known, and it ends with its stream.
            self._view.note("[cancelled]")
            return
        try:
            self._view.cancelled(self._client.cancel(self._run_id))
        except BreezewayError as error:
            self._view.alarm(f"Whether {self._run_id} was cancelled is not known. {self._connection.explain(error)}")
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
        return INTERRUPTED
    return 0 if answered else FAILED


def _choose(client: Client, wanted: str | None) -> str:
    """The agent's name; LookupError where there is none of that name. The first choice is `assistant`."""
    agents = client.agents()
    names = [agent.name for agent in agents]
    if wanted is None:
        if not names:
            raise LookupError("This key may use no agent that is there.")
        return "assistant" if "assistant" in names else names[0]
    if not any(wanted == agent.name or wanted in agent.aliases for agent in agents):
        raise LookupError(f"There is no agent {wanted}; there are {', '.join(names)}.")
    return wanted
