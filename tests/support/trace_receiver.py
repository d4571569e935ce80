"""A receiver of OTLP over HTTP: what it got is kept, by span."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from tests.support.patience import PATIENCE


class Span(NamedTuple):
    """A span as it came, and the name of the process that sent it."""

    service: str
    sent: Sent

    @property
    def name(self) -> str:
        return self.sent.name

    @property
    def kind(self) -> str:
        return Sent.SpanKind.Name(self.sent.kind).removeprefix("SPAN_KIND_")

    @property
    def attributes(self) -> dict[str, Any]:
        return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "") for pair in self.sent.attributes}


class TraceReceiver:
    """What two processes tell of themselves."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []
        self._news = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[Self]:
        receiver = cls()
        app = web.Application()
        app.router.add_post("/v1/traces", receiver._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield receiver
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest.FromString(await request.read())
        async with self._news:
            for resource in export.resource_spans:
                names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                for scope in resource.scope_spans:
                    self.spans += [Span(names["service.name"], span) for span in scope.spans]
            self._news.notify_all()
        return web.Response(content_type="application/x-protobuf")

    async def span(self, fits: Callable[[Span], bool]) -> Span:
        """The first span that fits, once it is there. TimeoutError where it never comes."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: any(map(fits, self.spans)))
        return next(filter(fits, self.spans))

    async def parent(self, span: Span) -> Span:
        """The span that another is a part of."""
        return await self.span(lambda other: other.sent.span_id == span.sent.parent_span_id)
