"""`breezeway runs`: lists, shows, follows and cancels the runs of a server."""

import sys
from itertools import islice

import click
from breezeway.client import BreezewayError
from breezeway.v1 import event_pb2, run_pb2, run_service_pb2

from breezeway_server.cli.chat_view import ChatView
from breezeway_server.cli.connection import FAILED, INTERRUPTED, Connection, connected, told
from breezeway_server.cli.printable import word_of
from breezeway_server.cli.runs_view import json_line, show_list, show_run

_PAGE = 100
# How long a server that is lost in the middle of a run is waited for.
_PATIENCE = 300.0
_STATES = {word_of(run_pb2.RunState, state).replace(" ", "_"): state for state in run_pb2.RunState.values()[1:]}

_as_json = click.option("--json", "as_json", is_flag=True, help="Print proto3 JSON, one object a line.")


@click.group()
def runs() -> None:
    """List, show, follow and cancel runs. An id may be spelled run_…, resp_… or chatcmpl-…."""


@runs.command(name="list")
@click.option("--agent", metavar="NAME", default="", help="Only of this agent.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(list(_STATES)), help="Only in this state, or these."
)
@click.option("--conversation", metavar="ID", default="", help="Only of this conversation.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first.")
@_as_json
@connected
def list_(
    *, connection: Connection, agent: str, states: tuple[str, ...], conversation: str, limit: int, as_json: bool
) -> None:
    """Print stored runs, newest first.

    In a pipe, one run a line with tabs between: id, state, agent, time of creation, tokens in and out, conversation.
    """
    query = run_service_pb2.ListRunsRequest(page_size=min(limit, _PAGE), agent=agent, conversation_id=conversation)
    query.states.extend(_STATES[state] for state in states)
    with told(connection), connection.client() as client:
        found = list(islice(client.list_runs(query), limit))
    if as_json:
        for run in found:
            click.echo(json_line(run))
    else:
        show_list(found)


@runs.command()
@click.argument("run_id")
@_as_json
@connected
def show(*, connection: Connection, run_id: str, as_json: bool) -> None:
    """Print a run: where it stands, what it was asked and what it said."""
    with told(connection), connection.client() as client:
        run = client.get(run_id)
    if as_json:
        click.echo(json_line(run))
    else:
        show_run(run)


@runs.command()
@click.argument("run_id")
@click.option("--after", type=click.IntRange(0), default=0, help="Only events after this sequence.  [default: all]")
@_as_json
@connected
def follow(*, connection: Connection, run_id: str, after: int, as_json: bool) -> None:
    """Print a run's events as they come, to its end; leaving with Ctrl-C lets the run go on.

    Goes on by itself where the server is lost for a while. Ends with 0 where the run completed, with 1 where it ended
    otherwise or cannot be followed.
    """
    view = ChatView(waiting=f"decide it with POST /v1/runs/{run_id}/approval; Ctrl-C leaves")

    def on_lost() -> None:
        view.note("The server is gone; waiting for it to come back.")

    try:
        with told(connection):
            with connection.client() as client:
                # A server that is not there at all is said at once; it is waited for where it was there.
                client.get(run_id)
            with connection.client(patience=_PATIENCE, on_lost=on_lost) as client:
                last: event_pb2.RunEvent | None = None
                for last in client.follow(run_id, after=after):
                    if as_json:
                        click.echo(json_line(last))
                    else:
                        view.show(last)
                # Whoever had all events gets none, and is told the end all the same.
                completed = (
                    last.HasField("run_completed")
                    if last is not None
                    else client.get(run_id).state == run_pb2.RUN_STATE_COMPLETED
                )
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0 if completed else FAILED)


@runs.command()
@click.argument("run_ids", metavar="RUN_ID...", nargs=-1, required=True)
@_as_json
@connected
def cancel(*, connection: Connection, run_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel runs, and print each once that has settled; one that is over stays as it is."""
    failed = False
    with connection.client() as client:
        for run_id in run_ids:
            try:
                run = client.cancel(run_id)
            except BreezewayError as error:
                failed = True
                click.echo(f"{run_id}: {connection.explain(error)}", err=True)
                continue
            click.echo(json_line(run) if as_json else f"{run.id}\t{word_of(run_pb2.RunState, run.state)}")
    sys.exit(FAILED if failed else 0)
