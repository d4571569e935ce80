"""The kept HTTP session that all llm agents of a server share."""

from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict, CIMultiDictProxy

_NO_HEADERS = CIMultiDictProxy(CIMultiDict[str]())


class _Connection(ResponseHandler):
    """A connection that is told to go on reading only where it had stopped.

    Its stream asks for that after every read, and aiohttp then runs its parser on nothing: for a stream that comes in
    token by token as often as on something.
    """

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading, with what the parser was stopped in the middle of first."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)


class _Response(aiohttp.ClientResponse):
    """A response that holds neither its request's headers nor the raw form of its own: nobody looks at them again.

    A stream may be open for hours, and a provider's headers are several kB.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the status and the headers."""
        await super().start(connection)
        self._request_info = self._request_info._replace(headers=_NO_HEADERS)
        self._raw_headers = ()
        return self


class _Connector(aiohttp.TCPConnector):
    """Makes these connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_Connection, loop=self._loop))


class UpstreamSession:
    """One aiohttp session, opened at first use inside the running loop and kept until `close`.

    Connections are kept alive by host, DNS answers are cached, and the number of connections has no limit: admission
    is the engine's matter, and a pool that makes runs wait for each other would be a second, hidden one.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def get(self) -> aiohttp.ClientSession:
        """The session. Needs a running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, ttl_dns_cache=300, keepalive_timeout=60),
                response_class=_Response,
                # Keys differ by agent, so that nothing an upstream sets may travel from one to another.
                cookie_jar=aiohttp.DummyCookieJar(),
                # Deadlines are kept by `upstream`: aiohttp's own re-arm a timer for every chunk.
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
