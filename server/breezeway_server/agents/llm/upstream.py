"""One HTTP call of an OpenAI-compatible chat-completions endpoint, read as a stream of steps."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import NoReturn

import aiohttp
import structlog
from yarl import URL

from breezeway_server.agents.llm import errors
from breezeway_server.agents.llm.deadline import ReadDeadline, Timeouts
from breezeway_server.agents.llm.reader import StepReader
from breezeway_server.agents.llm.redaction import Redactor
from breezeway_server.agents.llm.sessions import UpstreamSession
from breezeway_server.agents.llm.stream import ModelStream
from breezeway_server.agents.llm.wire import decode_error
from breezeway_server.agents.steps import Step

_MAX_ERROR_BODY = 64 * 1024
_DRAIN_SECONDS = 0.05

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Upstream:
    """The endpoint of one agent. `headers` carry its key; `redact` takes it out of all that the endpoint says."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        redact: Redactor,
        session: UpstreamSession,
    ) -> None:
        self._url = URL(f"{base_url}/chat/completions")
        self._headers = {
            "Accept": "text/event-stream",
            # A compressed stream arrives in blocks, not in tokens.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            **headers,
        }
        self._timeouts = timeouts
        self._connect = aiohttp.ClientTimeout(total=None, connect=timeouts.connect)
        self._session = session
        self.redact = redact

    @property
    def host(self) -> str:
        """Where it is."""
        return self._url.host or ""

    def total_deadline(self) -> float:
        """When a call that begins now must be over, in the loop's time."""
        return asyncio.get_running_loop().time() + self._timeouts.total

    async def open(
        self, model: str, body: bytes, fold: ModelStream, *, total_until: float, headers: Mapping[str, str]
    ) -> "Answer":
        """Make one call, and return its answer, which the caller closes. Raises `UpstreamError`.

        `headers` go along with those of the endpoint.
        """
        started = asyncio.get_running_loop().time()
        response = await self._post(model, body, headers, min(started + self._timeouts.first_token, total_until))

        deadline = ReadDeadline(
            model,
            self._timeouts,
            started=started,
            total_until=total_until,
            expire=response.content.set_exception,
        )
        answer = Answer(model, response, StepReader(model, fold), deadline)
        if not _is_stream(response):
            deadline.waiting_since = asyncio.get_running_loop().time()
            with closing(answer):
                await self._refuse(model, response)
        return answer

    async def _post(self, model: str, body: bytes, headers: Mapping[str, str], until: float) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout_at(until):
                return await self._session.get().post(
                    self._url,
                    # In the form that it gets to in the end: nothing has to be found out about it.
                    data=aiohttp.BytesPayload(body),
                    headers={**self._headers, **headers} if headers else self._headers,
                    timeout=self._connect,
                    allow_redirects=False,
                )
        except aiohttp.ConnectionTimeoutError:
            raise errors.timed_out(model, "no connection", self._timeouts.connect) from None
        except TimeoutError:
            raise errors.timed_out(model, "no first piece of its answer", self._timeouts.first_token) from None
        except (aiohttp.InvalidURL, aiohttp.ClientResponseError):
            raise errors.malformed(model, "something else than HTTP") from None
        except (aiohttp.ClientError, OSError) as error:
            _log.warning("model provider cannot be reached", model=model, error=self.redact(str(error)))
            raise errors.unavailable(model) from None

    async def _refuse(self, model: str, response: aiohttp.ClientResponse) -> NoReturn:
        """Raise what a response that is no stream says."""
        body = await _read_bounded(response)
        said = decode_error(body)
        if response.status == 200:
            if said.message or said.code:
                raise errors.in_stream(model, said, self.redact)
            raise errors.malformed(model, f"a body of type {response.content_type}")
        _log.warning(
            "model provider refused a call",
            model=model,
            status=response.status,
            message=self.redact(said.message or ""),
        )
        raise errors.refused(
            model,
            response.status,
            said,
            self.redact,
            retry_after=errors.read_retry_after(response.headers, time.time()),
        )


class Answer:
    """The answer to one call, while it comes in. `close` cuts it off unless it was read to its end."""

    __slots__ = ("_deadline", "_model", "_now", "_readany", "_reader", "_response")

    def __init__(
        self, model: str, response: aiohttp.ClientResponse, reader: StepReader, deadline: ReadDeadline
    ) -> None:
        self._model = model
        self._response = response
        self._reader = reader
        self._deadline = deadline
        self._readany = response.content.readany
        self._now = asyncio.get_running_loop().time

    async def read(self) -> list[Step]:
        """Return the steps that came next, as many as came together; none at the end. Raises `UpstreamError`."""
        reader, deadline = self._reader, self._deadline
        if reader.fault is not None:
            raise reader.fault
        try:
            while not reader.done:
                deadline.waiting_since = self._now()
                chunk = await self._readany()
                deadline.waiting_since = None
                if not chunk:
                    break
                if steps := reader.feed(chunk):
                    deadline.answering()
                    return steps
                if reader.fault is not None:
                    raise reader.fault
            if steps := reader.finish():
                return steps
            deadline.close()
            await _drain(self._response)
        except aiohttp.ClientError:
            # `ClientPayloadError` and its kin: the connection ended inside the body.
            raise errors.cut(self._model) from None
        return []

    def close(self) -> None:
        """Read no further. A connection whose response was read to its end is back in the pool by now."""
        self._deadline.close()
        self._response.close()


def _is_stream(response: aiohttp.ClientResponse) -> bool:
    return response.status == 200 and response.content_type not in {"application/json", "text/html"}


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    while len(body) < _MAX_ERROR_BODY and (chunk := await response.content.readany()):
        body += chunk
    return body


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read to the end that follows `[DONE]`, so that the connection is kept; give up soon where none comes."""
    if response.content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.content.readany():
                pass
