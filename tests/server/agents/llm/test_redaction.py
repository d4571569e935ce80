"""Secrets are taken out of what upstreams say."""

import pytest
from breezeway_server.agents.llm.redaction import Redactor


@pytest.mark.parametrize(
    "secret",
    ["sk-abc123", "sk-proj-A1b2C3d4E5", "sk-ab***********yz", "Bearer abcdef0123456789", "org-AbC123xyz", "my.own+key"],
)
def test_keys_do_not_pass(secret: str) -> None:
    said = Redactor(["my.own+key"])(f"Incorrect API key provided: {secret}, see the manual")
    assert said == "Incorrect API key provided: [redacted], see the manual"


def test_other_words_pass() -> None:
    said = "The model gpt-4o-mini-2024-07-18 has no max_tokens_2; a bearer token is needed."
    assert Redactor([""])(said) == said


def test_a_secret_at_the_cut_is_not_halved() -> None:
    said = Redactor(["hidden-key-0123456789"])("x" * 490 + " hidden-key-0123456789")
    assert len(said) == 500
    assert "hidden" not in said
