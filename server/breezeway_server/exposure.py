"""What a server may listen on: without a good key, nothing but its own machine."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from breezeway_server.agents.errors import ConfigError

_SHORTEST_KEY = 16
_FEWEST_CHARACTERS = 6
_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "your-",
    "your_",
    "replace",
    "example",
    "secret-key",
)


def is_local(address: str) -> bool:
    """Whether only this machine reaches `host:port` or `unix:path`."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(addresses: Iterable[str], plain_keys: Sequence[str], *, stored_keys: bool) -> None:
    """Raise `ConfigError`, which says what to do, where an address is open to others and no good key protects it.

    `plain_keys` are those of the environment; `stored_keys` says whether the store has any.
    """
    exposed = next((address for address in addresses if not is_local(address)), None)
    if exposed is None:
        return
    if not plain_keys and not stored_keys:
        raise ConfigError(
            f"Not listening on {exposed} without a key: whoever reaches it could use every agent. Set "
            "BREEZEWAY_API_KEYS, or create a key with `breezeway keys create`, or listen on 127.0.0.1."
        )
    for position, key in enumerate(plain_keys, start=1):
        if _is_weak(key):
            raise ConfigError(
                f"Not listening on {exposed}: key {position} of BREEZEWAY_API_KEYS is a placeholder or shorter than "
                f"{_SHORTEST_KEY} characters. Make one with `openssl rand -hex 32`, or listen on 127.0.0.1."
            )


def _is_weak(key: str) -> bool:
    lowered = key.lower()
    return (
        len(key) < _SHORTEST_KEY
        or len(set(lowered)) < _FEWEST_CHARACTERS
        or any(word in lowered for word in _PLACEHOLDERS)
    )
