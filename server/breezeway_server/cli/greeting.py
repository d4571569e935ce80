"""What `breezeway serve` says once it serves."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import click

from breezeway_server.cli.banner import banner

_POLL_SECONDS = 0.05


async def greet(http_listen: str, environ: Mapping[str, str], data_dir: Path, served: asyncio.Event) -> None:
    """Print where to go once everything answers, which is when something is served."""
    scheme = "https" if environ.get("BREEZEWAY_HTTP_TLS_CERT") else "http"
    url = f"{scheme}://{http_listen}"
    key = environ.get("BREEZEWAY_API_KEYS", "").partition(",")[0].strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        while (models := await _models(session, url)) is None:  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(_POLL_SECONDS)
    served.set()
    click.echo(banner(url, environ["BREEZEWAY_GRPC_LISTEN"], models, data_dir))


async def _models(session: aiohttp.ClientSession, url: str) -> list[str] | None:
    try:
        # Our own child is asked, whose certificate is made out to whatever name its callers know.
        async with session.get(f"{url}/v1/models", ssl=False) as response:
            if response.status == 401:
                return []  # Whoever has a key may see them, and we have none.
            if response.status != 200:
                return None
            return [model["id"] for model in (await response.json())["data"]]
    except aiohttp.ClientError:
        return None
