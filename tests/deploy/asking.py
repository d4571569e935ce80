"""Plain HTTP requests to systems under test."""

import json
import urllib.request
from typing import Any


def ask(url: str, *, body: Any = None, key: str | None = None) -> str:
    """The answer's text; POST where there is a body. Raises `HTTPError` for all but 2xx."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
        text: str = answer.read().decode()
        return text
