"""How a remote agent is configured, but for what all agents share."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s\[\]:/,]+):\d{1,5}")

Seconds = Annotated[float, Field(gt=0)]


def _address(text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    if not _HOST_PORT.fullmatch(text):
        raise ValueError('is no address; write it like "host:50061" or "unix:/path"')
    return text


Address = Annotated[str, AfterValidator(_address)]


class TlsConfig(BaseModel):
    """TLS to the agent: `ca` is whom to trust (the system's roots where absent), `cert` and `key` who we are.

    Files are PEM. `server_name` is the name in the agent's certificate where it is not the host of its address.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


class RemoteConfig(BaseModel):
    """Where a remote agent is and how it is called. Times are in seconds.

    The capabilities, where set, win over what the agent says in Describe.
    """

    endpoints: Annotated[tuple[Address, ...], Field(min_length=1)]
    deadline: Seconds = 3600.0
    connect_timeout: Seconds = 5.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    retry_backoff: Annotated[float, Field(ge=0, le=60)] = 0.25
    max_message_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    tls: TlsConfig | None = None
    images: bool | None = None
    files: bool | None = None
    client_tools: bool | None = None
    multiple_choices: bool | None = None
    resumable: bool | None = None
