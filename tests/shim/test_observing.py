"""Health and metrics of a shim by itself, and what it counts."""

import aiohttp
import pytest
from grpc_health.v1 import health_pb2

from tests.support.fake_server import FakeServer
from tests.support.metrics import Scrape
from tests.support.shim import serve_shim


async def test_without_its_server_a_shim_lives_and_shows_its_own_metrics() -> None:
    async with serve_shim("127.0.0.1:1", reconnect_seconds=0.01) as url, aiohttp.ClientSession(url) as http:
        async with http.get("/alive") as response:
            assert response.status == 200
        async with http.get("/ready") as response:
            assert response.status == 503
        async with http.get("/health/detailed") as response:
            assert response.status == 503
        async with http.get("/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            seen = Scrape(await response.text())
    assert seen("breezeway_backend_up") == 0
    assert seen("breezeway_http_requests_total", route="/ready", method="GET", status="503") == 1


async def test_ready_says_no_while_the_server_drains(http: aiohttp.ClientSession, server: FakeServer) -> None:
    async with http.get("/ready") as response:
        assert response.status == 200
    await server.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    async with http.get("/ready") as response:
        assert response.status == 503
    async with http.get("/alive") as response:
        assert response.status == 200


@pytest.mark.parametrize("method", ["GET", "PROPFIND"])
async def test_what_somebody_tries_is_never_a_label(http: aiohttp.ClientSession, method: str) -> None:
    for index in range(5):
        async with http.request(method, f"/guess/{index}") as response:
            assert response.status == 404
    async with http.get("/metrics") as response:
        seen = Scrape(await response.text())
    known = method if method == "GET" else "other"
    assert seen("breezeway_http_requests_total", route="unmatched", method=known, status="404") == 5
    assert seen.labels("breezeway_http_requests_total", "route") == {"unmatched"}
