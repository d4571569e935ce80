"""Responses and Conversations over plain HTTP; everything that comes back is judged by what OpenAI publishes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from openai.types.conversations import Conversation, ConversationItemList
from openai.types.responses import ResponseItemList

from tests.support.openai_schemas import check_events, check_response, check_schema_if_there, sse_events

Json = dict[str, Any]


class OpenAIHttp:
    """The calls that the cases make. A status other than 200 is an assertion that failed, but for `error`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def create(self, **body: Any) -> Json:
        """The response that a POST is answered with."""
        return _checked_response(await self._json("POST", "/v1/responses", json={"model": "assistant", **body}))

    async def stream(self, **body: Any) -> list[Json]:
        """The events that a POST is answered with."""
        body = {"model": "assistant", **body, "stream": True}
        async with self.session.post("/v1/responses", json=body) as response:
            return await _checked_events(response)

    @asynccontextmanager
    async def streaming(self, **body: Any) -> AsyncIterator[AsyncIterator[Json]]:
        """The events of a stream as they come; leaving the block hangs up."""
        body = {"model": "assistant", **body, "stream": True}
        async with self.session.post("/v1/responses", json=body) as response:
            assert response.status == 200, await response.text()
            yield _live(response)
            # A kept connection would be drained politely; a client that is gone is not polite.
            response.close()

    async def get(self, response_id: str) -> Json:
        """A stored response."""
        return _checked_response(await self._json("GET", f"/v1/responses/{response_id}"))

    async def replay(self, response_id: str, *, after: int | None = None) -> list[Json]:
        """The events of a stored response above the number `after`, up to its end."""
        params = {"stream": "true"} if after is None else {"stream": "true", "starting_after": str(after)}
        async with self.session.get(f"/v1/responses/{response_id}", params=params) as response:
            return await _checked_events(response, whole=after is None)

    async def cancel(self, response_id: str) -> Json:
        """A response that was cancelled."""
        return _checked_response(await self._json("POST", f"/v1/responses/{response_id}/cancel"))

    async def input_items(self, response_id: str, **params: Any) -> Json:
        """A page of what a response read."""
        return await self.items(f"/v1/responses/{response_id}/input_items", **params)

    async def items(self, path: str, **params: Any) -> Json:
        """A page of items."""
        page = await self._json("GET", path, params=params)
        return _checked_page(page, of_conversation="conversations" in path)

    async def conversation(self, method: str, path: str = "", json: Json | None = None) -> Json:
        """A conversation, from a call that is answered with one."""
        found = await self._json(method, f"/v1/conversations{path}", json=json)
        Conversation.model_validate(found, strict=True)
        check_schema_if_there("ConversationResource", found)
        return found

    async def add_items(self, conversation_id: str, *items: Json) -> Json:
        """The items that were added to a conversation."""
        path = f"/v1/conversations/{conversation_id}/items"
        page = await self._json("POST", path, json={"items": list(items)})
        return _checked_page(page, of_conversation=True)

    async def error(self, method: str, path: str, **parameters: Any) -> tuple[int, str | None, str | None]:
        """Status, code and param of an error."""
        async with self.session.request(method, path, **parameters) as response:
            assert response.content_type == "application/json"
            body = await response.json()
            check_schema_if_there("ErrorResponse", body)
            error = body["error"]
            assert list(error) == ["message", "type", "param", "code"]
            assert error["message"]
            return response.status, error["code"], error["param"]

    async def refused(self, **body: Any) -> tuple[int, str | None, str | None]:
        """Status, code and param of the error that a response request is answered with."""
        return await self.error("POST", "/v1/responses", json={"model": "assistant", **body})

    async def json(self, method: str, path: str, **parameters: Any) -> Json:
        """Any other answer."""
        return await self._json(method, path, **parameters)

    async def _json(self, method: str, path: str, **parameters: Any) -> Json:
        async with self.session.request(method, path, **parameters) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "application/json"
            body: Json = await response.json()
            return body


def message(role: str, *texts: str) -> Json:
    """A message of plain text parts."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text} for text in texts]}


def output_of(call_id: str, output: Any) -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def function(name: str) -> Json:
    """A tool in the flat form."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {
        "type": "function",
        "name": name,
        "description": f"The {name}.",
        "parameters": parameters,
        "strict": False,
    }


def text_of(response: Json) -> str:
    """What the messages of a response say."""
    said = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in said if part["type"] == "output_text")


def _checked_response(response: Json) -> Json:
    check_response(response)
    check_schema_if_there("Response", response)
    return response


def _checked_page(page: Json, *, of_conversation: bool) -> Json:
    if page["data"]:
        # Of an empty page OpenAI's own ids are null, which its types do not know.
        (ConversationItemList if of_conversation else ResponseItemList).model_validate(page)
        check_schema_if_there("ConversationItemList" if of_conversation else "ResponseItemList", page)
    assert page["object"] == "list"
    ids = [item["id"] for item in page["data"]]
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    assert len(set(ids)) == len(ids)
    return page


async def _checked_events(response: aiohttp.ClientResponse, *, whole: bool = True) -> list[Json]:
    assert response.status == 200, await response.text()
    assert response.content_type == "text/event-stream"
    body = await response.read()
    # At the very end there is nothing left to send.
    events = sse_events(body) if body else []
    if whole:
        # The rest of a stream is compared with a whole one that was checked.
        for event in events:
            check_schema_if_there("ResponseStreamEvent", event)
        check_events(events)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


async def _live(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    while frame := await response.content.readuntil(b"\n\n"):
        (event,) = sse_events(frame)
        yield event
