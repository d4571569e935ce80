"""How cost grows with what came before: chains of responses, and long logs. `python -m bench.history`."""

import json
import re
import time

import aiohttp
import uvloop

from bench import processes
from bench.model import text
from bench.processes import Process

_SHORT = "fast-8"
_LONG = "fast-20000"
_TURNS = 200
_REPEATS = 40
_RESUMES = 5


async def _respond(session: aiohttp.ClientSession, **more: object) -> str:
    async with session.post("/v1/responses", json={"model": _SHORT, **more}) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["id"])


async def _cost(process: Process, session: aiohttp.ClientSession, **more: object) -> float:
    """Return CPU microseconds for one such request."""
    await _respond(session, **more)
    before = process.cpu_seconds()
    for _ in range(_REPEATS):
        await _respond(session, **more)
    return (process.cpu_seconds() - before) * 1e6 / _REPEATS


async def chain(process: Process, session: aiohttp.ClientSession) -> None:
    """Print what turn 2 and turn 200 of a chain cost, and the same context sent in full."""
    ids = [await _respond(session, input="hi")]
    for _ in range(_TURNS - 1):
        ids.append(await _respond(session, input="hi", previous_response_id=ids[-1]))
    turn = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": text(8)}]
    last = {"role": "user", "content": "hi"}
    for number in (2, _TURNS):
        chained = await _cost(process, session, input="hi", previous_response_id=ids[number - 2])
        whole = await _cost(process, session, input=[*turn * (number - 1), last], store=False)
        print(
            f"turn {number:3} of a chain: {chained:6.0f} us; the same context sent in full: {whole:6.0f} us; "
            f"x {chained / whole:.2f}",
            flush=True,
        )


async def resume(process: Process, session: aiohttp.ClientSession) -> None:
    """Print what it costs to read a log of 20,000 tokens again, and how soon its first event comes."""
    wanted = {"model": _LONG, "stream": True, "store": True, "messages": [{"role": "user", "content": "hi"}]}
    async with session.post("/v1/chat/completions", json=wanted) as answer:
        run = json.loads((await answer.content.readuntil(b"\n\n")).partition(b"data: ")[2])["id"]
        await answer.read()
    before, firsts = process.cpu_seconds(), []
    for _ in range(_RESUMES):
        started = time.perf_counter()
        async with session.get(f"/v1/chat/completions/{run}?stream=true&starting_after=1") as answer:
            body = await answer.content.readany()
            firsts.append(time.perf_counter() - started)
            body += await answer.read()
        got = "".join(re.findall(r'"content":"((?:[^"\\]|\\.)*)"', body.decode()))
        assert text(20000).endswith(got), "a resumed stream is the rest of the text"
        assert len(got) > 19_990 * len("tok000 ")
    cost = (process.cpu_seconds() - before) * 1e6 / (_RESUMES * 20_000)
    print(
        f"resume of a log of 20,000 tokens: {cost:.1f} us/token, first bytes after {min(firsts) * 1e3:.1f} ms",
        flush=True,
    )


async def history() -> None:
    """Run both."""
    with processes.model() as model, processes.breezeway(model.port, [_SHORT, _LONG]) as (system, _):
        async with aiohttp.ClientSession(f"http://127.0.0.1:{system.port}", read_bufsize=2**22) as session:
            await chain(system, session)
            await resume(system, session)


if __name__ == "__main__":
    uvloop.run(history())
