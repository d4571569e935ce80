"""Limits over the whole way: two keys with the official client, streams and gRPC, and runs that spend their tokens."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from tests.e2e.sdk import user
from tests.e2e.test_keys import keys, made
from tests.support.model_server import Hold, ModelServer, Stream, answer, call, calls
from tests.support.system import ReservedPort, System

ADMIN = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
REQUESTS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")
TOKENS = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
PAGE = "https://page.example"

_CONFIG = """
[agents.thrifty]
kind = "llm"
model = "scripted"
base_url = "{upstream}"
tools = ["operators_tools:weather"]
max_total_tokens = 40
"""

_TOOLS = '''
"""An operator's tools."""


async def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"
'''


@pytest.fixture(scope="module")
def limited(upstream: ReservedPort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("limits")
    (directory / "operators_tools.py").write_text(_TOOLS, encoding="utf-8")
    base_url = f"http://127.0.0.1:{upstream.number}/v1"
    environ = {
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "unused",
        "BREEZEWAY_MODEL": "scripted",
        "BREEZEWAY_API_KEYS": ADMIN,
        "BREEZEWAY_CORS_ORIGINS": PAGE,
        "BREEZEWAY_MAX_QUEUED_RUNS": "2",
    }
    with System.serving(directory, environ=environ, config=_CONFIG.format(upstream=base_url)) as system:
        yield system


def client_of(system: System, key: str, *, max_retries: int = 0, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{system.url}/v1", api_key=key, max_retries=max_retries, **options)


@pytest.fixture
async def admin(limited: System, model: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(limited, ADMIN) as client:
        yield client


def values(headers: Mapping[str, str], names: tuple[str, ...]) -> list[str | None]:
    return [headers.get(name) for name in names]


async def test_a_key_that_has_asked_enough_is_refused_and_another_is_not(limited: System, model: ModelServer) -> None:
    first = made(limited, "--requests-per-minute", "2", api_key=ADMIN)
    second = made(limited, "--requests-per-minute", "2", api_key=ADMIN)
    async with client_of(limited, first) as one, client_of(limited, second) as two:
        create = one.chat.completions.with_raw_response.create
        raw = await create(model="assistant", messages=user("hello"))
        assert values(raw.headers, REQUESTS)[:2] == ["2", "1"]
        # Its stream is no answer of another kind.
        stream = await create(model="assistant", messages=user("hello"), stream=True)
        assert values(stream.headers, REQUESTS)[:2] == ["2", "0"]
        assert [chunk async for chunk in stream.parse()]
        for ask in (
            one.chat.completions.create(model="assistant", messages=user("hello")),
            one.chat.completions.create(model="assistant", messages=user("hello"), stream=True),
            one.responses.create(model="assistant", input="hello"),
            one.responses.create(model="assistant", input="hello", stream=True),
            one.responses.create(model="assistant", input="hello", background=True),
        ):
            with pytest.raises(openai.RateLimitError) as raised:
                await ask
            error = raised.value
            assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
            assert 0 < int(error.response.headers["Retry-After"]) <= 60
            assert values(error.response.headers, REQUESTS)[:2] == ["2", "0"]
        raw_response = await two.responses.with_raw_response.create(model="assistant", input="hello")
        assert values(raw_response.headers, REQUESTS)[:2] == ["2", "1"]
        assert re.fullmatch("1m0s|[1-5]?[0-9]s", raw_response.headers[REQUESTS[2]])
        events = await two.responses.with_raw_response.create(model="assistant", input="hello", stream=True)
        assert values(events.headers, REQUESTS)[:2] == ["2", "0"]
        assert [event async for event in events.parse()][-1].type == "response.completed"


async def test_the_official_client_waits_as_long_as_it_is_told_and_tries_again(
    limited: System, model: ModelServer
) -> None:
    key = made(limited, "--max-runs", "1", api_key=ADMIN)
    gate = asyncio.Event()
    model.enqueue(Stream([Hold(gate), *answer("first").actions]), answer("second"))
    statuses: list[int] = []

    async def on_response(response: httpx2.Response) -> None:
        statuses.append(response.status_code)
        if response.status_code == 429:
            assert response.headers["Retry-After"] == "1"
            gate.set()

    http = DefaultAsyncHttpxClient(event_hooks={"response": [on_response]})
    async with client_of(limited, key, max_retries=100, http_client=http) as client:
        first = asyncio.create_task(client.chat.completions.create(model="assistant", messages=user("1")))
        await model.arrival()
        began = asyncio.get_running_loop().time()
        second = await client.chat.completions.create(model="assistant", messages=user("2"))
        assert asyncio.get_running_loop().time() - began >= 1
        assert second.choices[0].message.content == "second"
        assert (await first).choices[0].message.content == "first"
    # More than one refusal where the first answer takes longer than the client was told to wait.
    assert (statuses.count(200), set(statuses)) == (2, {200, 429})


async def test_tokens_are_charged_by_what_was_used(limited: System, model: ModelServer) -> None:
    key = made(limited, "--tokens-per-minute", "20", "--requests-per-minute", "0", api_key=ADMIN)
    model.enqueue(answer("hello", tokens=(10, 5)), answer("hello", tokens=(10, 5)))
    async with client_of(limited, key) as client:
        raw = client.chat.completions.with_raw_response
        heard = [await raw.create(model="assistant", messages=user("x")) for _ in range(2)]
        assert [values(one.headers, TOKENS)[:2] for one in heard] == [["20", "20"], ["20", "5"]]
        assert values(heard[0].headers, REQUESTS) == [None] * 3
        with pytest.raises(openai.RateLimitError) as raised:
            await client.chat.completions.create(model="assistant", messages=user("x"))
        assert values(raised.value.response.headers, TOKENS)[:2] == ["20", "0"]


async def test_an_idempotent_repeat_costs_nothing(limited: System, model: ModelServer) -> None:
    key = made(limited, "--requests-per-minute", "1", api_key=ADMIN)
    async with client_of(limited, key) as client:
        headers = {"Idempotency-Key": "the-same"}
        asked = [
            await client.chat.completions.create(model="assistant", messages=user("x"), extra_headers=headers)
            for _ in range(3)
        ]
    assert len({one.id for one in asked}) == 1


async def test_native_calls_and_runs_have_the_headers_too_and_pages_may_read_them(
    limited: System, model: ModelServer
) -> None:
    key = made(limited, "--requests-per-minute", "4", api_key=ADMIN)
    message = {"role": "ROLE_USER", "content": [{"text": {"text": "hello"}}]}
    native = {"spec": {"agent": "assistant"}, "input": [{"message": message}]}
    headers = {"Authorization": f"Bearer {key}", "Origin": PAGE}
    async with aiohttp.ClientSession(limited.url, headers=headers) as http:
        for left, (path, body) in enumerate(
            [
                ("/api/runs", native),
                ("/api/runs:stream", native),
                ("/v1/runs", {"model": "assistant", "input": "hello"}),
                ("/v1/responses", {"model": "assistant", "input": "hello", "background": True}),
            ]
        ):
            async with http.post(path, json=body) as reply:
                assert reply.status in {200, 202}
                assert [reply.headers[name] for name in REQUESTS[:2]] == ["4", str(3 - left)]
                assert set(REQUESTS) <= set(reply.headers["Access-Control-Expose-Headers"].split(", "))
                await reply.read()
        async with http.post("/api/runs", json=native) as reply:
            status = await reply.json()
            assert (reply.status, status["code"]) == (429, 8)
            assert reply.headers[REQUESTS[1]] == "0"
            assert int(reply.headers["Retry-After"]) <= 60


async def test_a_conversation_takes_only_so_many_waiting_runs(limited: System, model: ModelServer) -> None:
    gate = asyncio.Event()
    model.enqueue(Stream([Hold(gate), *answer("first").actions]))
    body = {"model": "assistant", "input": "hello", "session_id": "full", "busy_policy": "queue"}
    async with aiohttp.ClientSession(limited.url, headers={"X-API-Key": ADMIN}) as http:
        accepted = []
        for _ in range(3):
            async with http.post("/v1/runs", json=body) as reply:
                accepted.append((await reply.json())["run_id"])
        async with http.post("/v1/runs", json=body) as reply:
            assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
            assert (await reply.json())["error"]["code"] == "rate_limit_exceeded"
        gate.set()
        for run_id in accepted:
            async with http.get(f"/v1/runs/{run_id}/events") as reply:
                assert "run.completed" in await reply.text()


async def test_a_run_that_has_spent_its_tokens_ends_before_the_next_model_call(
    admin: AsyncOpenAI, model: ModelServer
) -> None:
    def asks_again(number: int) -> Stream:
        return calls(call("weather", {"city": "Rome"}, call_id=f"c{number}"), tokens=(15, 5))

    model.enqueue(*map(asks_again, range(4)))
    completion = await admin.chat.completions.create(model="thrifty", messages=user("weather?"))
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert (completion.usage.total_tokens, len(model.requests)) == (40, 2)
    response = await admin.responses.create(model="thrifty", input="weather?")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.to_dict() == {"reason": "max_output_tokens", "limit": "token_budget"}
    assert len(model.requests) == 4


async def test_a_run_says_itself_how_much_it_may_spend(limited: System, model: ModelServer) -> None:
    model.enqueue(calls(call("weather", {"city": "Rome"}), tokens=(15, 5)), answer("never"))
    body = {"model": "thrifty", "input": "weather?", "max_total_tokens": 20}
    async with aiohttp.ClientSession(limited.url, headers={"X-API-Key": ADMIN}) as http:
        async with http.post("/v1/runs", json=body) as reply:
            run_id = (await reply.json())["run_id"]
        async with http.get(f"/v1/runs/{run_id}/events") as reply:
            assert '"incomplete_reason":"token_budget"' in await reply.text()
        async with http.get(f"/api/runs/{run_id}") as reply:
            run = (await reply.json())["run"]
    assert (run["state"], run["incompleteReason"]) == ("RUN_STATE_INCOMPLETE", "INCOMPLETE_REASON_TOKEN_BUDGET")
    assert run["spec"]["maxTotalTokens"] == 20
    assert len(model.requests) == 1


async def test_an_answer_that_went_over_its_budget_is_whole(admin: AsyncOpenAI, model: ModelServer) -> None:
    model.enqueue(answer("all of it", tokens=(100, 100)))
    completion = await admin.chat.completions.create(model="thrifty", messages=user("hello"))
    assert (completion.choices[0].finish_reason, completion.choices[0].message.content) == ("stop", "all of it")


def test_limits_are_listed_and_changed(limited: System) -> None:
    secret = made(limited, "--max-runs", "3", "--tokens-per-minute", "0", api_key=ADMIN)
    key_id = f"key_{secret.split('_')[1]}"
    lines = keys(limited, "list", api_key=ADMIN)[1]
    line = next(line for line in lines if key_id in line)
    assert "max_runs=3  tokens_per_minute=any" in line
    status, (line,) = keys(limited, "limit", key_id, "--requests-per-minute", "5", api_key=ADMIN)
    assert (status, "requests_per_minute=5" in line, "max_runs" in line) == (0, True, False)
