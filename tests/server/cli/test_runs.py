"""`breezeway runs`, with a real system behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from breezeway.client import Client
from breezeway.v1 import event_pb2, item_pb2, run_pb2
from google.protobuf import json_format

from tests.server.cli.commands import Terminal, piped
from tests.support.patience import PATIENCE
from tests.support.system import Output, System, launch

_EVIL = 'async def evil(context):\n    yield "\\x1b[2Jclean\\x07"\n'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("runs")
    (directory / "said.py").write_text(_EVIL, encoding="utf-8")
    with System.serving(directory, config='[agents.evil]\nkind = "python"\npath = "said:evil"\n') as system:
        yield system


@pytest.fixture(scope="module")
def client(system: System) -> Iterator[Client]:
    with Client(system.grpc_target) as client:
        yield client


@pytest.fixture(scope="module")
def answered(client: Client) -> run_pb2.Run:
    spec = run_pb2.RunSpec(metadata={"team": "a"})
    return client.run("demo", "What is 6 * 7?", spec=spec)


@pytest.fixture(scope="module")
def failed(client: Client) -> run_pb2.Run:
    return client.run("demo", "Please fail.")


def test_a_pipe_gets_a_line_a_run_newest_first(system: System, answered: run_pb2.Run, failed: run_pb2.Run) -> None:
    listing = piped(system.environ, "runs", "list")
    assert listing.returncode == 0, listing.stderr
    rows = [line.split("\t") for line in listing.stdout.splitlines()]
    ids = [row[0] for row in rows]
    assert ids == sorted(ids, reverse=True)
    found = dict(zip(ids, rows, strict=True))
    assert found[failed.id][1:3] == ["failed", "demo"]
    created = answered.create_time.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")
    tokens = [str(answered.usage.input_tokens), str(answered.usage.output_tokens)]
    assert found[answered.id] == [answered.id, "completed", "demo", created, *tokens, ""]


def test_a_list_is_narrowed(system: System, answered: run_pb2.Run, failed: run_pb2.Run) -> None:
    def listed(*arguments: str) -> list[str]:
        return [line.split("\t")[0] for line in piped(system.environ, "runs", "list", *arguments).stdout.splitlines()]

    assert listed("--state", "failed") == [failed.id]
    assert set(listed("--state", "failed", "--state", "completed")) >= {failed.id, answered.id}
    assert listed("--agent", "nobody") == []
    assert listed("--conversation", "none") == []
    assert len(listed("--limit", "1")) == 1


def test_a_list_goes_on_over_pages(system: System, client: Client) -> None:
    for _ in range(3):
        client.create("evil", "hi")
    listing = piped(system.environ, "runs", "list", "--agent", "evil", "--limit", "101")
    assert len(listing.stdout.splitlines()) >= 3


def test_json_is_a_run_a_line(system: System, answered: run_pb2.Run) -> None:
    listing = piped(system.environ, "runs", "list", "--json")
    runs = [json_format.Parse(line, run_pb2.Run()) for line in listing.stdout.splitlines()]
    assert answered in runs
    (shown,) = piped(system.environ, "runs", "show", answered.id, "--json").stdout.splitlines()
    assert json_format.Parse(shown, run_pb2.Run()) == answered


def test_a_terminal_gets_a_table(system: System, answered: run_pb2.Run) -> None:
    terminal = Terminal({**system.environ, "COLUMNS": "120"}, "runs", "list")
    text = terminal.wait_for(answered.id)
    assert "conversation" in text
    assert terminal.close() == 0


@pytest.mark.parametrize("prefix", ["run_", "resp_", "chatcmpl-"])
def test_a_run_is_shown_under_every_spelling_of_its_id(system: System, answered: run_pb2.Run, prefix: str) -> None:
    shown = piped(system.environ, "runs", "show", answered.id.replace("run_", prefix))
    assert shown.returncode == 0, shown.stderr
    for words in (answered.id, "completed", "team=a", "user: What is 6 * 7?", '→ calculator({"expression":', "← 42"):
        assert words in shown.stdout


def test_a_failed_run_says_why(system: System, failed: run_pb2.Run) -> None:
    assert "DEMO_FAILURE" in piped(system.environ, "runs", "show", failed.id).stdout


def test_what_an_agent_wrote_cannot_steer_the_terminal(system: System, client: Client) -> None:
    run = client.run("evil", "hi")
    for command in ("show", "follow"):
        assert "\x1b" not in piped(system.environ, "runs", command, run.id).stdout


@pytest.mark.parametrize("command", ["show", "follow", "cancel"])
def test_a_run_that_is_not_there_is_said(system: System, command: str) -> None:
    done = piped(system.environ, "runs", command, "run_" + "0" * 32)
    assert done.returncode == 1
    assert "RUN_NOT_FOUND" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    idle = System(tmp_path)
    for arguments in (("list",), ("show", "run_1"), ("follow", "run_1"), ("cancel", "run_1")):
        done = piped(idle.environ, "runs", *arguments)
        assert done.returncode == 1
        assert f"No Breezeway server answers at {idle.grpc_target}" in done.stderr
    idle.close()


def test_following_ends_with_how_the_run_ended(system: System, answered: run_pb2.Run, failed: run_pb2.Run) -> None:
    good = piped(system.environ, "runs", "follow", answered.id)
    assert (good.returncode, "42" in good.stdout, "← 42" in good.stderr) == (0, True, True)
    bad = piped(system.environ, "runs", "follow", failed.id)
    assert (bad.returncode, "DEMO_FAILURE" in bad.stderr) == (1, True)


def test_following_begins_after_what_is_known(system: System, answered: run_pb2.Run, failed: run_pb2.Run) -> None:
    rest = piped(system.environ, "runs", "follow", answered.id, "--after", "3", "--json")
    events = [json_format.Parse(line, event_pb2.RunEvent()) for line in rest.stdout.splitlines()]
    assert [event.sequence for event in events] == list(range(4, answered.last_sequence + 1))
    for run, status in ((answered, 0), (failed, 1)):
        nothing = piped(system.environ, "runs", "follow", run.id, "--after", str(run.last_sequence))
        assert (nothing.returncode, nothing.stdout) == (status, "")


def test_following_waits_for_approvals_and_goes_on(system: System, client: Client) -> None:
    run = client.create("demo", "approve: Greetings!")
    process = launch("runs", "follow", run.id, environ=system.environ)
    output = Output(process)
    output.wait_for("waits for an approval")
    client.resolve_approval(run.id, item_pb2.APPROVAL_DECISION_ONCE)
    assert process.wait(PATIENCE) == 0
    output.close()
    assert "once" in output.text


def test_leaving_lets_the_run_go_on(system: System, client: Client) -> None:
    run = client.create("demo", "approve: Greetings!")
    terminal = Terminal(system.environ, "runs", "follow", run.id)
    terminal.wait_for("waits for an approval")
    terminal.type("\x03")
    assert terminal.close() == 130
    assert client.get(run.id).state == run_pb2.RUN_STATE_REQUIRES_ACTION
    client.cancel(run.id)


def test_runs_are_cancelled_and_those_that_are_not_there_are_named(
    system: System, client: Client, answered: run_pb2.Run
) -> None:
    run = client.create("demo", "approve: Greetings!")
    done = piped(system.environ, "runs", "cancel", run.id, "nope", answered.id)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [f"{run.id}\tcancelled", f"{answered.id}\tcompleted"]
    assert "nope: " in done.stderr
    assert client.get(run.id).state == run_pb2.RUN_STATE_CANCELLED
