"""The wire that these cases speak."""

import aiohttp
import pytest

from tests.e2e.responses.openai_http import OpenAIHttp


@pytest.fixture
def openai_http(http: aiohttp.ClientSession) -> OpenAIHttp:
    return OpenAIHttp(http)
