"""Functions that tests name by their import path: tools, and python agents."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal, TypedDict

import msgspec
from breezeway.v1 import run_pb2
from breezeway_server.agents.base import RunContext
from breezeway_server.agents.steps import ModelCallCompleted, Step
from breezeway_server.agents.tools.base import ToolError

from tests.support.agents import text_of


class Place(TypedDict):
    city: str


class Point(msgspec.Struct):
    x: int
    y: int = 0


def add(a: int, b: int = 2) -> int:
    """Adds two numbers.

    The rest is for people.
    """
    return a + b


async def weather(place: Place, unit: Literal["C", "F"] = "C", days: list[int] | None = None) -> str:
    """Tells the weather."""
    await asyncio.sleep(0)
    return f"20 {unit} in {place['city']} for {len(days or [])} days"


def far(point: Point) -> dict[str, int]:
    return {"distance": point.x + point.y}


def breaks() -> str:
    raise RuntimeError("secret inside")


def complains() -> str:
    raise ToolError("No such city.")


def long_text() -> str:
    return "x" * 1000


async def waits_for_ever() -> str:
    await asyncio.Event().wait()
    return "never"


def takes_anything(*values: int) -> int:
    return sum(values)


async def echo(context: RunContext) -> AsyncGenerator[Step | str, None]:
    for word in text_of(context.input).split():
        yield f"{word} "
    yield ModelCallCompleted("echo", run_pb2.Usage(input_tokens=1, output_tokens=2, model_calls=1))


async def raises(context: RunContext) -> AsyncGenerator[Step | str, None]:
    yield "before "
    raise RuntimeError("secret inside")


async def yields_nonsense(context: RunContext) -> AsyncGenerator[Step | str, None]:
    nonsense: object = 7
    yield nonsense  # type: ignore[misc]  # what a function without type checks may do


async def stalls(context: RunContext) -> AsyncGenerator[Step | str, None]:
    yield "one "
    await asyncio.Event().wait()


not_a_function = 7
