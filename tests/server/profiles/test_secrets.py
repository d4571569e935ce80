"""Secrets at rest."""

import pytest
from breezeway_server.profiles.secrets import SecretBox, SecretsLost

KEY = "a key of thirty-two characters, or more"
SECRETS = {"api_key": "k3y-secret", "headers": {"X-Team": "t3am"}}


def test_what_is_kept_comes_back_and_cannot_be_read_in_between() -> None:
    kept = SecretBox(KEY).close("helper", SECRETS)
    assert SecretBox(KEY).open("helper", kept) == SECRETS
    assert b"k3y" not in kept
    assert b"t3am" not in kept


def test_the_same_secrets_never_look_the_same() -> None:
    box = SecretBox(KEY)
    assert box.close("helper", SECRETS) != box.close("helper", SECRETS)


def test_another_key_another_owner_and_damage_lose_them() -> None:
    kept = SecretBox(KEY).close("helper", SECRETS)
    for box, owner, what in (
        (SecretBox(KEY[::-1]), "helper", kept),
        (SecretBox(KEY), "other", kept),
        (SecretBox(KEY), "helper", kept[:-1]),
        (SecretBox(KEY), "helper", b""),
    ):
        with pytest.raises(SecretsLost):
            box.open(owner, what)


def test_fingerprints_tell_what_is_the_same_to_those_with_the_key_alone() -> None:
    assert SecretBox(KEY).fingerprint(b"a") == SecretBox(KEY).fingerprint(b"a")
    others = {SecretBox(KEY).fingerprint(b"b"), SecretBox(KEY[::-1]).fingerprint(b"a")}
    assert len(others | {SecretBox(KEY).fingerprint(b"a")}) == 3
