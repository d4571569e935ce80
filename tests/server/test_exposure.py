"""What a server may listen on."""

import pytest
from breezeway_server.agents.errors import ConfigError
from breezeway_server.exposure import check_exposure, is_local

GOOD = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
LOCAL = ["127.0.0.1:1", "127.3.2.1:1", "localhost:1", "[::1]:1", "unix:/run/x.sock"]
OPEN = ["0.0.0.0:1", "[::]:1", "192.168.0.7:1", "example.org:1"]
WEAK = ["tiny-key", "fifteen-letters", "your-api-key-goes-here", "CHANGEME-CHANGEME", "aaaaaaaaaaaaaaaaaaaaaaaa"]


@pytest.mark.parametrize("address", LOCAL)
def test_its_own_machine_needs_no_key(address: str) -> None:
    assert is_local(address)
    check_exposure([address], [], stored_keys=False)
    check_exposure([address], ["short"], stored_keys=False)


@pytest.mark.parametrize("address", OPEN)
def test_others_need_a_key(address: str) -> None:
    with pytest.raises(ConfigError, match="BREEZEWAY_API_KEYS"):
        check_exposure(["127.0.0.1:1", address], [], stored_keys=False)
    check_exposure([address], [GOOD], stored_keys=False)
    check_exposure([address], [], stored_keys=True)


@pytest.mark.parametrize("key", WEAK)
def test_a_weak_key_protects_nobody_and_is_not_quoted(key: str) -> None:
    with pytest.raises(ConfigError, match="key 2 of BREEZEWAY_API_KEYS") as raised:
        check_exposure(["0.0.0.0:1"], [GOOD, key], stored_keys=True)
    assert key not in str(raised.value)
