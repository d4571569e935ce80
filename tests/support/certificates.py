"""Certificates for tests, made when they are needed."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Identity(NamedTuple):
    """A certificate for localhost and 127.0.0.1, signed by itself, and its key: PEM files."""

    cert: Path
    key: Path


def identity(folder: Path, name: str) -> Identity:
    """Make one. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = Identity(folder / f"{name}.cert.pem", folder / f"{name}.key.pem")
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(made.key), "-out", str(made.cert)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return made
