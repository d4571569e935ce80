"""RunService over a real channel."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from breezeway.v1 import item_pb2, run_pb2, run_service_pb2
from breezeway_server.agents.steps import TextDelta, ToolCallCompleted, ToolCallStarted

from tests.server.services.conftest import Client
from tests.server.services.statuses import refused
from tests.support.agents import function_tool, returned, said
from tests.support.server import ScriptedAgent, Stack, running, serving, texts

Create = run_service_pb2.CreateRunRequest
NOWHERE = "run_" + "0" * 32
SPELLINGS = pytest.mark.parametrize("spelling", ["run_", "resp_", "chatcmpl-"])


def wanted(text: str = "hello", *, request_id: str = "", **spec: object) -> Create:
    made = Create(spec=run_pb2.RunSpec(**spec), input=[said(text)], request_id=request_id)  # type: ignore[arg-type] # by name
    made.spec.agent = made.spec.agent or "scripted"
    return made


async def create(client: Client, text: str = "hello", *, request_id: str = "", **spec: object) -> run_pb2.Run:
    return (await client.runs.CreateRun(wanted(text, request_id=request_id, **spec))).run


async def finished(
    client: Client, stack: Stack, agent: ScriptedAgent, text: str = "hello", **spec: object
) -> run_pb2.Run:
    run = (await client.runs.CreateRun(wanted(text, request_id="", **spec))).run
    agent.script(run.id).say(TextDelta(f"{text}!"))
    agent.script(run.id).end()
    await stack.settled(run.id)
    return (await client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run.id))).run


async def test_a_run_is_accepted_with_the_servers_defaults(client: Client, agent: ScriptedAgent) -> None:
    run = await create(client, agent="other-name", previous_run_id="", metadata={"a": "b"})
    assert run.id.startswith("run_")
    assert run.state in {run_pb2.RUN_STATE_QUEUED, run_pb2.RUN_STATE_IN_PROGRESS}
    assert run.spec.agent == "scripted"
    assert run.spec.durability == run_pb2.DURABILITY_LOGGED
    assert dict(run.spec.metadata) == {"a": "b"}
    assert texts(run.input) == ["hello"]
    assert run.last_sequence >= 1


@SPELLINGS
async def test_every_spelling_reaches_the_run(
    client: Client, stack: Stack, agent: ScriptedAgent, spelling: str
) -> None:
    run = await finished(client, stack, agent)
    other = spelling + run.id[4:]
    assert (await client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=other))).run == run
    assert (await client.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=other))).run == run
    updated = await client.runs.UpdateRun(run_service_pb2.UpdateRunRequest(run_id=other, metadata={"a": "b"}))
    assert dict(updated.run.spec.metadata) == {"a": "b"}
    after = await client.runs.ListRuns(run_service_pb2.ListRunsRequest(after_run_id=other))
    assert not after.runs
    leaf = await create(client, previous_run_id=other)
    assert leaf.spec.previous_run_id == run.id
    await client.runs.DeleteRun(run_service_pb2.DeleteRunRequest(run_id=other))
    assert (await refused(client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run.id)))).reason == "RUN_NOT_FOUND"


@pytest.mark.parametrize("run_id", [NOWHERE, "", "nonsense", "../../x", "run_" + "g" * 32, "x" * 10_000])
async def test_a_run_that_is_not_there(client: Client, run_id: str) -> None:
    for call in (
        client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run_id)),
        client.runs.UpdateRun(run_service_pb2.UpdateRunRequest(run_id=run_id)),
        client.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run_id)),
        client.runs.DeleteRun(run_service_pb2.DeleteRunRequest(run_id=run_id)),
        client.runs.ResolveApproval(
            run_service_pb2.ResolveApprovalRequest(run_id=run_id, decision=item_pb2.APPROVAL_DECISION_ONCE)
        ),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "RUN_NOT_FOUND")
        assert len(refusal.message) < 300


async def test_a_repeated_request_is_the_same_run_and_another_body_an_error(client: Client) -> None:
    first = await create(client, request_id="key")
    assert (await create(client, request_id="key")).id == first.id
    for other in (wanted("other", request_id="key"), wanted(request_id="key", instructions="x")):
        refusal = await refused(client.runs.CreateRun(other))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_maps_in_another_order_are_the_same_body(client: Client) -> None:
    pairs = [(f"k{number}", "v") for number in range(10)]
    first = await create(client, request_id="key", metadata=dict(pairs))
    assert (await create(client, request_id="key", metadata=dict(reversed(pairs)))).id == first.id


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (wanted(agent="nobody"), "AGENT_NOT_FOUND", "spec.agent"),
        (wanted(agent="n" * 100_000), "AGENT_NOT_FOUND", "spec.agent"),
        (wanted(previous_run_id=NOWHERE), "PREVIOUS_RUN_NOT_FOUND", "spec.previous_run_id"),
        (wanted(previous_run_id="nonsense"), "PREVIOUS_RUN_NOT_FOUND", "spec.previous_run_id"),
        (wanted(conversation_id="conv_nowhere"), "CONVERSATION_NOT_FOUND", "spec.conversation_id"),
        (
            Create(
                spec=run_pb2.RunSpec(agent="scripted"),
                input=[item_pb2.Item(item_reference=item_pb2.ItemReference(id="\u00e4" * 50_000))],
            ),
            "ITEM_NOT_FOUND",
            "input[0].item_reference.id",
        ),
    ],
)
async def test_what_is_named_must_be_there(client: Client, request_: Create, reason: str, field: str) -> None:
    refusal = await refused(client.runs.CreateRun(request_))
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.NOT_FOUND, reason, field)
    counted = run_service_pb2.CountTokensRequest(spec=request_.spec, input=request_.input)
    if reason != "CONVERSATION_NOT_FOUND":
        refusal = await refused(client.runs.CountTokens(counted))
        assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.NOT_FOUND, reason, field)


async def test_a_fault_names_its_field(client: Client) -> None:
    refusal = await refused(client.runs.CreateRun(wanted(sampling=run_pb2.Sampling(temperature=3))))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refusal.field == "spec.sampling.temperature"
    refusal = await refused(
        client.runs.CreateRun(Create(spec=run_pb2.RunSpec(agent="scripted"), input=[returned("c1", "3")]))
    )
    assert (refusal.reason, refusal.field) == ("CALL_NOT_FOUND", "input[0].function_call_output.call_id")
    refusal = await refused(client.runs.CreateRun(wanted(agent="plain", tools=[function_tool("f")])))
    assert refusal.field == "spec.tools"


async def test_a_busy_conversation_and_an_open_run_say_so(client: Client) -> None:
    run = await create(client, conversation_id="talk")
    refusal = await refused(client.runs.CreateRun(wanted(conversation_id="talk")))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "CONVERSATION_LOCKED")
    refusal = await refused(client.runs.CreateRun(wanted(previous_run_id=run.id)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PREVIOUS_RUN_NOT_OVER")


async def test_a_full_server_says_when_to_come_back(tmp_path: Path, agent: ScriptedAgent) -> None:
    async with running(tmp_path, agent, max_runs=1) as stack, serving(stack) as channel:
        client = Client.of(channel)
        await create(client)
        refusal = await refused(client.runs.CreateRun(wanted()))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_RUNS")
        assert refusal.retry_after == 1.0
        await stack.supervisor.drain(0)
        refusal = await refused(client.runs.CreateRun(wanted()))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
        assert refusal.retry_after == 1.0


async def test_runs_are_listed_in_pages(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    made = [(await finished(client, stack, agent, str(number))).id for number in range(5)]
    await create(client, durability=run_pb2.DURABILITY_MEMORY)
    for ascending in (True, False):
        got, token, pages = [], "", 0
        while True:
            page = await client.runs.ListRuns(
                run_service_pb2.ListRunsRequest(page_size=2, page_token=token, ascending=ascending)
            )
            got += [run.id for run in page.runs]
            pages += 1
            token = page.next_page_token
            if not token:
                break
        assert got == (made if ascending else made[::-1])
        assert pages == 3
    listed = await client.runs.ListRuns(run_service_pb2.ListRunsRequest())
    assert texts(listed.runs[0].output) == ["4!"]


async def test_filters_of_the_list_are_handed_on(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    talk = await finished(client, stack, agent, conversation_id="talk", dialect="responses", metadata={"a": "b"})
    await finished(client, stack, agent)
    queries: list[dict[str, Any]] = [
        {"conversation_id": "talk"},
        {"dialect": "responses"},
        {"metadata": {"a": "b"}},
        {"agent": "scripted", "states": [run_pb2.RUN_STATE_COMPLETED], "conversation_id": "talk"},
    ]
    for query in queries:
        page = await client.runs.ListRuns(run_service_pb2.ListRunsRequest(**query))
        assert [run.id for run in page.runs] == [talk.id]
    page = await client.runs.ListRuns(run_service_pb2.ListRunsRequest(states=[run_pb2.RUN_STATE_FAILED]))
    assert not page.runs


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({"page_size": -1}, "page_size", grpc.StatusCode.INVALID_ARGUMENT),
        ({"page_size": 1001}, "page_size", grpc.StatusCode.INVALID_ARGUMENT),
        ({"page_token": "nonsense"}, "page_token", grpc.StatusCode.INVALID_ARGUMENT),
        ({"page_token": NOWHERE, "after_run_id": NOWHERE}, "after_run_id", grpc.StatusCode.INVALID_ARGUMENT),
        ({"after_run_id": NOWHERE}, "", grpc.StatusCode.NOT_FOUND),
        ({"after_run_id": "nonsense"}, "", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_page_that_cannot_be(
    client: Client, query: dict[str, object], field: str, code: grpc.StatusCode
) -> None:
    refusal = await refused(client.runs.ListRuns(run_service_pb2.ListRunsRequest(**query)))  # type: ignore[arg-type] # by name
    assert (refusal.code, refusal.field) == (code, field)


async def test_metadata_must_fit(client: Client) -> None:
    run = await create(client)
    for metadata, field in (
        ({str(number): "x" for number in range(17)}, "metadata"),
        ({"k" * 65: "x"}, "metadata"),
        ({"k": "x" * 513}, "metadata.k"),
    ):
        refusal = await refused(
            client.runs.UpdateRun(run_service_pb2.UpdateRunRequest(run_id=run.id, metadata=metadata))
        )
        assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_a_cancel_answers_when_it_has_settled(client: Client, agent: ScriptedAgent) -> None:
    run = await create(client)
    await agent.script(run.id).begun.wait()
    over = (await client.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run.id))).run
    assert over.state == run_pb2.RUN_STATE_CANCELLED
    assert agent.script(run.id).closed.is_set()


async def test_a_run_can_be_deleted_while_it_runs(client: Client, agent: ScriptedAgent) -> None:
    run = await create(client)
    await agent.script(run.id).begun.wait()
    await client.runs.DeleteRun(run_service_pb2.DeleteRunRequest(run_id=run.id))
    refusal = await refused(client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=run.id)))
    assert refusal.reason == "RUN_NOT_FOUND"


async def test_tokens_are_counted_and_nothing_runs(client: Client, stack: Stack) -> None:
    counted = await client.runs.CountTokens(
        run_service_pb2.CountTokensRequest(spec=run_pb2.RunSpec(agent="scripted"), input=[said("x" * 4000)])
    )
    assert 1000 <= counted.input_tokens <= 1010
    assert not list(stack.supervisor.under_way)
    refusal = await refused(
        client.runs.CountTokens(run_service_pb2.CountTokensRequest(spec=run_pb2.RunSpec(agent="scripted")))
    )
    assert refusal.field == "input"


async def test_an_approval_is_decided_once(client: Client, stack: Stack, agent: ScriptedAgent) -> None:
    run = await create(client)
    resolve = run_service_pb2.ResolveApprovalRequest
    script = agent.script(run.id)
    script.say(ToolCallStarted("c1", "shell", item_pb2.EXECUTOR_SERVER), ToolCallCompleted("c1"))
    await stack.seen(run.id, "item_completed")
    once = item_pb2.APPROVAL_DECISION_ONCE
    refusal = await refused(client.runs.ResolveApproval(resolve(run_id=run.id)))
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "decision")
    refusal = await refused(client.runs.ResolveApproval(resolve(run_id=run.id, decision=once)))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "APPROVAL_NOT_FOUND")
    assert refusal.field == "approval_request_id"
    waiting = asyncio.ensure_future(script.contexts[0].approval("c1"))
    request_id = (await stack.seen(run.id, "approval_requested")).approval_requested.item_id
    decided = await client.runs.ResolveApproval(
        resolve(run_id=run.id, approval_request_id=request_id, decision=once, reason="go")
    )
    assert decided.run.state == run_pb2.RUN_STATE_IN_PROGRESS
    assert (await waiting).granted
    for _ in range(2):
        refusal = await refused(
            client.runs.ResolveApproval(resolve(run_id=run.id, approval_request_id=request_id, decision=once))
        )
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "APPROVAL_ALREADY_RESOLVED")
        script.end()
        await stack.settled(run.id)


async def test_a_large_input_arrives_and_a_larger_one_is_refused(client: Client) -> None:
    run = await create(client, "x" * 10_000_000)
    assert len(texts(run.input)[0]) == 10_000_000
    refusal = await refused(client.runs.CreateRun(wanted("x" * 17_000_000)))
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_fault_of_ours_is_internal_and_keeps_its_text(
    client: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object) -> None:
        raise ValueError("the key is sk-secret")

    monkeypatch.setattr(stack.supervisor, "get", broken)
    refusal = await refused(client.runs.GetRun(run_service_pb2.GetRunRequest(run_id=NOWHERE)))
    assert refusal.code == grpc.StatusCode.INTERNAL
    assert "secret" not in refusal.message
    assert "server's log" in refusal.message
