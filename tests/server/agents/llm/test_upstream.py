"""Model calls over real HTTP: what goes wrong, what is tried again, what is let go."""

import asyncio
import re
from typing import Any

import grpc
import pytest
from breezeway_server.agents.base import AgentError
from breezeway_server.agents.steps import ModelCallCompleted, TextDelta

from tests.server.agents.conftest import KEY, MakeAgent, built
from tests.support.agents import FakeRun
from tests.support.clock import HeldClock
from tests.support.model_server import (
    DONE,
    Cut,
    Hold,
    ModelServer,
    Raw,
    Refusal,
    Reply,
    Stream,
    answer,
    error,
    finish,
    text,
    usage,
)
from tests.support.system import ReservedPort


async def _fails(llm: MakeAgent, **keys: Any) -> tuple[FakeRun, AgentError]:
    run = FakeRun.asking("hello")
    async with llm(**keys) as agent:
        with pytest.raises(AgentError) as caught:
            await run.work(agent)
    return run, caught.value


@pytest.mark.parametrize(
    ("reply", "reason", "code"),
    [
        (error(400, "bad top_p", param="top_p", code="invalid_value"), "UPSTREAM_REJECTED", "INVALID_ARGUMENT"),
        (error(422), "UPSTREAM_REJECTED", "INVALID_ARGUMENT"),
        (error(413), "UPSTREAM_REJECTED", "INVALID_ARGUMENT"),
        (error(401), "UPSTREAM_AUTH", "INTERNAL"),
        (error(403), "UPSTREAM_AUTH", "INTERNAL"),
        (error(404, code="model_not_found"), "UPSTREAM_ERROR", "INTERNAL"),
        (error(400, code="model_not_found"), "UPSTREAM_ERROR", "INTERNAL"),
        (error(429), "UPSTREAM_RATE_LIMITED", "RESOURCE_EXHAUSTED"),
        (error(500), "UPSTREAM_ERROR", "UNAVAILABLE"),
        (Refusal(503, "<h1>down</h1>"), "UPSTREAM_ERROR", "UNAVAILABLE"),
        (
            Stream([Raw(b'{"error": {"message": "no"}}')], content_type="application/json"),
            "UPSTREAM_ERROR",
            "UNAVAILABLE",
        ),
        (Stream([Raw(b'{"choices": []}')], content_type="application/json"), "UPSTREAM_MALFORMED", "INTERNAL"),
        (Stream([Raw(b"<html>")], content_type="text/html"), "UPSTREAM_MALFORMED", "INTERNAL"),
        (Stream([Raw(b"hello\n\n")]), "UPSTREAM_MALFORMED", "INTERNAL"),
        (Stream([Raw(b"data: {nonsense\n\n")]), "UPSTREAM_MALFORMED", "INTERNAL"),
        (Stream([]), "UPSTREAM_CUT", "UNAVAILABLE"),
        (Stream([Cut()]), "UPSTREAM_CUT", "UNAVAILABLE"),
    ],
)
async def test_each_failure_has_its_reason(
    model: ModelServer, llm: MakeAgent, reply: Reply, reason: str, code: str
) -> None:
    model.enqueue(reply)
    run, failed = await _fails(llm)
    assert failed.error.reason == reason
    assert failed.error.code == grpc.StatusCode[code].value[0]
    assert not run.output


async def test_a_refused_parameter_is_named(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(error(400, "top_p is too large", param="top_p", code="invalid_value"))
    _, failed = await _fails(llm)
    assert (failed.error.param, failed.error.upstream_code) == ("top_p", "invalid_value")
    assert "top_p is too large" in failed.error.message


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_the_key_never_comes_back(model: ModelServer, llm: MakeAgent, status: int) -> None:
    model.enqueue(error(status, f"wrong key {KEY} (Bearer {KEY}, sk-abcdef123456)", param=KEY, code=KEY))
    _, failed = await _fails(llm)
    assert KEY not in str(failed.error)
    assert "sk-abc" not in str(failed.error)


async def test_the_wait_that_the_upstream_asks_for_is_passed_on(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(error(429, headers={"Retry-After": "30"}))
    _, failed = await _fails(llm, retries=3)
    assert failed.error.retry_after.ToSeconds() == 30
    assert len(model.requests) == 1, "30 s is more than a run should silently wait"


async def test_an_unreachable_upstream_is_unavailable(llm: MakeAgent) -> None:
    with ReservedPort.reserved() as nobody:
        _, failed = await _fails(llm, base_url=f"http://127.0.0.1:{nobody.number}/v1")
    assert failed.error.reason == "UPSTREAM_UNAVAILABLE"


@pytest.mark.parametrize(
    ("actions", "keys", "what"),
    [
        ([], {"first_token_timeout": 30}, "first piece"),
        ([Raw(b": still thinking\n\n")], {"first_token_timeout": 30}, "first piece"),
        (text("one "), {"idle_timeout": 30}, "further piece"),
        (text("one "), {"total_timeout": 30}, "whole answer"),
    ],
)
async def test_a_slow_upstream_times_out(
    model: ModelServer, llm: MakeAgent, actions: list[Any], keys: dict[str, float], what: str
) -> None:
    model.enqueue(Stream([*actions, Hold()]))
    run = FakeRun.asking("hello")
    with HeldClock.held() as clock:
        async with llm(**keys) as agent:
            steps = run.follow(agent)
            if what != "first piece":
                assert await anext(steps) == TextDelta("one ")
            waiting = asyncio.ensure_future(anext(steps))
            request = await model.arrival()
            await clock.move_until(waiting, 31)
            with pytest.raises(AgentError) as caught:
                await waiting
        await request.gone.wait()
    assert caught.value.error.reason == "UPSTREAM_TIMEOUT"
    assert what in caught.value.error.message


async def test_an_upstream_that_does_not_even_answer_times_out(llm: MakeAgent) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, failed = await _fails(llm, base_url=f"http://127.0.0.1:{port}/v1", first_token_timeout=0.05)
    assert failed.error.reason == "UPSTREAM_TIMEOUT"


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_passing_failure_is_tried_again(model: ModelServer, llm: MakeAgent, status: int) -> None:
    model.enqueue(error(status, headers={"Retry-After": "0"}), error(status), answer("well"))
    async with llm(retries=2) as agent:
        run = await FakeRun.asking("hello").work(agent)
    assert run.text == "well"
    assert len(model.requests) == 3
    assert model.requests[0].body == model.requests[2].body


@pytest.mark.parametrize("reply", [error(400), error(401), error(429, code="insufficient_quota"), Stream([Cut()])])
async def test_a_lasting_failure_is_not_tried_again(model: ModelServer, llm: MakeAgent, reply: Reply) -> None:
    model.enqueue(reply)
    await _fails(llm, retries=2)
    assert len(model.requests) == 1


async def test_nothing_is_tried_again_once_a_step_was_given_out(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(Stream([*text("half "), usage(3, 1), Cut()]))
    run, failed = await _fails(llm, retries=2, fallback_models=["second"])
    assert failed.error.reason == "UPSTREAM_CUT"
    assert run.text == "half "
    assert run.usage.output_tokens == 1, "usage that is known counts, also of a call that was cut"
    assert len(model.requests) == 1


async def test_fallback_models_take_over_in_turn(model: ModelServer, llm: MakeAgent) -> None:
    model.models |= {"first": error(500), "second": error(404), "third": answer("here")}
    async with llm(fallback_models=["second", "third"], retries=1) as agent:
        run = await FakeRun.asking("hello").work(agent)
    assert run.text == "here"
    assert [request.body["model"] for request in model.requests] == ["first", "first", "second", "third"]
    assert [step.model for step in run.steps if isinstance(step, ModelCallCompleted)] == ["third"]


async def test_a_refused_parameter_is_no_reason_for_another_model(model: ModelServer, llm: MakeAgent) -> None:
    model.models["first"] = error(400, "bad")
    _, failed = await _fails(llm, fallback_models=["second"])
    assert failed.error.reason == "UPSTREAM_REJECTED"
    assert len(model.requests) == 1


async def test_text_survives_comments_line_ends_and_fragments_inside_characters(
    model: ModelServer, llm: MakeAgent
) -> None:
    whole = "data: " + '{"choices":[{"index":0,"delta":{"content":"größe 🌍"}}]}' + "\r\n\r\n"
    pieces = [Raw(bytes([byte])) for byte in whole.encode()]
    model.enqueue(Stream([*pieces, *text("!"), finish(), DONE], newline="\r\n", comments=True))
    async with llm() as agent:
        run = await FakeRun.asking("hello").work(agent)
    assert run.text == "größe 🌍!"


async def test_what_came_before_a_fault_in_the_same_chunk_is_given_out(model: ModelServer, llm: MakeAgent) -> None:
    good = b'data: {"choices":[{"index":0,"delta":{"content":"good"}}]}\n\n'
    model.enqueue(Stream([Raw(good + b"data: nonsense\n\n")]))
    run, failed = await _fails(llm)
    assert run.text == "good"
    assert failed.error.reason == "UPSTREAM_MALFORMED"


async def test_the_connection_is_kept_for_the_next_call(model: ModelServer, llm: MakeAgent) -> None:
    async with llm() as agent:
        for _ in range(3):
            await FakeRun.asking("hello").work(agent)
        assert model.connections == 1


@pytest.mark.parametrize("actions", [[Hold()], [*text("one "), Hold()]], ids=["silent", "in the middle"])
async def test_a_cancelled_run_leaves_its_upstream_at_once(
    model: ModelServer, llm: MakeAgent, actions: list[Any]
) -> None:
    model.enqueue(Stream(actions))
    async with llm() as agent:
        task = asyncio.create_task(FakeRun.asking("hello").work(agent))
        request = await model.arrival()
        cancelled_at = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await request.gone.wait()
    assert request.gone_at - cancelled_at < 0.25


async def test_a_generator_that_is_closed_leaves_its_upstream_at_once(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(Stream([*text("one "), Hold()]))
    async with llm() as agent:
        steps = agent.run(FakeRun.asking("hello"))
        assert await anext(steps) == TextDelta("one ")
        await steps.aclose()
        await (await model.arrival()).gone.wait()


async def test_the_key_and_headers_are_sent_and_no_key_where_there_is_none(model: ModelServer) -> None:
    table = {"kind": "llm", "model": "m", "base_url": model.base_url, "headers": {"X-Team": "seven"}}
    async with built({**table, "api_key_env": "MY_KEY"}, MY_KEY="abcdef") as agent:
        await FakeRun.asking("hello").work(agent)
    async with built(table) as agent:
        await FakeRun.asking("hello").work(agent)
    with_key, without = model.requests
    assert with_key.headers["Authorization"] == "Bearer abcdef"
    assert with_key.headers["X-Team"] == "seven"
    assert "Authorization" not in without.headers


async def test_no_message_of_ours_is_empty_or_multi_line(model: ModelServer, llm: MakeAgent) -> None:
    model.enqueue(error(500, "several\nlines   of text"))
    _, failed = await _fails(llm)
    assert re.fullmatch(r"[^\n]+several lines of text", failed.error.message)
