"""Secrets at rest: encrypted with a key from the environment, and bound to whom they belong to."""

import hmac
import os
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12
# Another use of the same secret would say something else here, and so get another key.
_PURPOSE = b"breezeway profile secrets v1"
_FINGERPRINTS = b"breezeway request fingerprints v1"


class SecretsLost(Exception):
    """What was kept cannot be read: it was encrypted with another key, belongs to another agent, or was damaged."""


class SecretBox:
    """Keeps secrets with AES-256-GCM; the key is derived with HKDF-SHA256 (RFC 5869)."""

    def __init__(self, secret_key: str) -> None:
        """`secret_key` is as hard to guess as it should be: nothing here makes it harder."""
        self._cipher = AESGCM(_derived(secret_key, _PURPOSE))
        self._fingerprints = _derived(secret_key, _FINGERPRINTS)

    def close(self, owner: str, secrets: Mapping[str, Any]) -> bytes:
        """Return the secrets encrypted; only `open` for the same owner reads them."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(secrets), owner.encode())

    def open(self, owner: str, kept: bytes) -> dict[str, Any]:
        """Return the secrets. Raises `SecretsLost`."""
        try:
            plain = self._cipher.decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], owner.encode())
        except (InvalidTag, ValueError) as error:
            raise SecretsLost from error
        return msgspec.json.decode(plain, type=dict[str, Any])

    def fingerprint(self, data: bytes) -> bytes:
        """Return 32 bytes that are the same for the same data, and tell nothing of it without the key."""
        return hmac.digest(self._fingerprints, data, "sha256")


def _derived(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret_key.encode())
